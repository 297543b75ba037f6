"""ONNX Runtime, fp32 and int8; a single int8 layer from int8 to int8."""

from __future__ import annotations

from typing import ClassVar

from ebcore.measure.cases import Case, Convolution
from ebcore.measure.peers.onnx_files import (
    INPUT,
    OUTPUT,
    convolution_input,
    convolution_model,
    network_file,
)
from ebcore.measure.peers.peer import Arithmetic, Peer
from ebcore.measure.timing import Call


class OnnxRuntime(Peer):
    title = "ONNX Runtime fp32"
    arithmetic: ClassVar[Arithmetic] = "fp32"
    packages = ("onnxruntime", "onnx")
    reads_onnx = True

    def prepare(self, case: Case, threads: int) -> Call:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        model: bytes | str
        if isinstance(case, Convolution):
            model = convolution_model(case, self.arithmetic)
            x = convolution_input(case, self.arithmetic)
        else:
            model, x = str(network_file(case, self.arithmetic)), case.input()
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        binding.bind_cpu_input(INPUT, x)
        binding.bind_output(OUTPUT)
        return lambda: session.run_with_iobinding(binding)


class OnnxRuntimeInt8(OnnxRuntime):
    title = "ONNX Runtime int8"
    arithmetic: ClassVar[Arithmetic] = "int8"
