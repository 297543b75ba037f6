"""OpenVINO, fp32 and int8; a single int8 layer from int8 to int8."""

from __future__ import annotations

import io
from typing import Any, ClassVar

from ebcore.measure.cases import Array, Case, Convolution
from ebcore.measure.peers.onnx_files import convolution_input, convolution_model, network_file
from ebcore.measure.peers.peer import Arithmetic, Call, Peer


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


class OpenVino(Peer):
    title = "OpenVINO fp32"
    arithmetic: ClassVar[Arithmetic] = "fp32"
    packages = ("openvino", "onnx", "onnxruntime")
    reads_onnx = True

    def prepare(self, case: Case, threads: int) -> Call:
        import openvino as ov

        if isinstance(case, Convolution):
            model = ov.Core().read_model(io.BytesIO(convolution_model(case, self.arithmetic)))
            return compiled(model, convolution_input(case, self.arithmetic), threads)
        model = ov.Core().read_model(str(network_file(case, self.arithmetic)))
        return compiled(model, case.input(), threads)


class OpenVinoInt8(OpenVino):
    title = "OpenVINO int8"
    arithmetic: ClassVar[Arithmetic] = "int8"
    amx = True
