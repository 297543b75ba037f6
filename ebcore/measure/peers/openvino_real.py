"""OpenVINO, fp32 and int8; a single int8 layer from int8 to int8."""

from __future__ import annotations

import io
from typing import Any, ClassVar

import numpy as np

from ebcore.measure.cases import Array, Case, Convolution
from ebcore.measure.peers.onnx_files import convolution_input, convolution_model, network_file
from ebcore.measure.peers.peer import Arithmetic, Peer
from ebcore.measure.timing import Call


def compiled(model: Any, x: Array, threads: int) -> Call:
    """A call of an OpenVINO model on one fixed input."""
    import openvino as ov

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # or fp32 would be bf16 on CPUs that have it
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # the process is pinned already
    }
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(ov.Tensor(x))
    held = x  # the tensor shares its memory
    return lambda: (request.infer(), held)


def channels_last(model: Any) -> Any:
    """The model with input and output as [B, H, W, C], the layout OpenVINO computes in.

    With [B, C, H, W] a layer would also pay for the way there and back.
    """
    from openvino import Layout
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    steps.input().tensor().set_layout(Layout("NHWC"))
    steps.input().model().set_layout(Layout("NCHW"))
    steps.output().model().set_layout(Layout("NCHW"))
    steps.output().tensor().set_layout(Layout("NHWC"))
    return steps.build()


class OpenVino(Peer):
    title = "OpenVINO fp32"
    arithmetic: ClassVar[Arithmetic] = "fp32"
    packages = ("openvino", "onnx", "onnxruntime")
    reads_onnx = True

    def prepare(self, case: Case, threads: int) -> Call:
        import openvino as ov

        if isinstance(case, Convolution):
            model = ov.Core().read_model(io.BytesIO(convolution_model(case, self.arithmetic)))
            x = convolution_input(case, self.arithmetic)
            if self.arithmetic == "fp32":  # transposes would keep int8 from its fast path
                model, x = channels_last(model), np.ascontiguousarray(x.transpose(0, 2, 3, 1))
            return compiled(model, x, threads)
        model = ov.Core().read_model(str(network_file(case, self.arithmetic)))
        return compiled(model, case.input(), threads)


class OpenVinoInt8(OpenVino):
    title = "OpenVINO int8"
    arithmetic: ClassVar[Arithmetic] = "int8"
    amx = True
