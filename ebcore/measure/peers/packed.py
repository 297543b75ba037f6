"""This project's packed kernels: float32 in, float32 out, gate, sign and packing included."""

from __future__ import annotations

from ebcore.measure.cases import Case, Convolution
from ebcore.measure.peers.peer import Call, Peer


class Packed(Peer):
    title = "packed"
    arithmetic = "binary"

    def version(self) -> str:
        import ebcore
        from ebcore.packed import isa

        return f"ebcore {ebcore.__version__} {isa()}"

    def prepare(self, case: Case, threads: int) -> Call:
        """Input and output are bound beforehand, as with ONNX Runtime and OpenVINO."""
        import numpy as np
        import torch

        from ebcore.packed import load, pack
        from ebcore.packed.native import NativeModel

        batch, channels, height, width = case.input_shape
        if isinstance(case, Convolution):
            packed = pack(torch.nn.Sequential(case.binary()), (channels, height, width))
        elif case.packed:
            packed = load(case.packed)
        else:
            packed = pack(case.binary(), (channels, height, width))
        native = NativeModel(packed.graph, packed.isa)
        x = case.input()
        out = np.empty((batch, *native.shape(len(packed.graph.nodes))), np.float32)
        arguments = x.ctypes.data, batch, out.ctypes.data, threads, None
        keep = x, out

        def call() -> None:
            native.run(*arguments)
            assert keep

        return call

    def limits(self) -> dict[str, float]:
        """What one core reaches in registers, MAC/s, by kind of arithmetic."""
        from ebcore.packed import isa
        from ebcore.packed.native import limits

        return limits(isa())
