"""ncnn fp32: by Winograd's transform where a 3x3 layer has stride 1, the best fp32 there is."""

from __future__ import annotations

import os
import tempfile

import numpy as np

from ebcore.measure.cases import Case, Network
from ebcore.measure.peers.peer import LAYERS_ONLY, Peer, Unsupported
from ebcore.measure.timing import Call

_MAGIC = 7767517  # of ncnn's text format


class NcnnWinograd(Peer):
    title = "ncnn fp32"
    arithmetic = "fp32"
    packages = ("ncnn",)

    def prepare(self, case: Case, threads: int) -> Call:
        if isinstance(case, Network):
            raise Unsupported(LAYERS_ONLY)
        if case.batch_size > 1:
            raise Unsupported("one image at a time")
        import ncnn

        shape = (case.outputs, case.inputs // case.groups, case.kernel, case.kernel)
        weight = np.random.default_rng(1).standard_normal(shape, np.float32)
        kind = "Convolution" if case.groups == 1 else "ConvolutionDepthWise"
        attributes = f"0={case.outputs} 1={case.kernel} 3={case.stride} 4={case.padding} 5=0"
        attributes += f" 6={weight.size} 7={case.groups}"
        graph = f"{_MAGIC}\n2 2\nInput x 0 1 x\n{kind} conv 1 1 x y {attributes}\n"
        net = ncnn.Net()
        net.opt.num_threads = threads
        for name in ("use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
            setattr(net.opt, name, False)
        net.opt.openmp_blocktime = 0
        with tempfile.TemporaryDirectory() as folder:
            names = [os.path.join(folder, name) for name in ("conv.param", "conv.bin")]
            with open(names[0], "w", encoding="ascii") as file:
                file.write(graph)
            with open(names[1], "wb") as data:
                data.write(bytes(4) + weight.tobytes())  # flag 0: plain fp32
            if net.load_param(names[0]) or net.load_model(names[1]):
                raise Unsupported("ncnn refused the layer")
        x = case.input()[0]
        image = ncnn.Mat(x)

        def call() -> object:
            extractor = net.create_extractor()
            extractor.input("x", image)
            return extractor.extract("y"), x

        if call()[0][0]:  # type: ignore[index]
            raise Unsupported("ncnn failed on the layer")
        return call
