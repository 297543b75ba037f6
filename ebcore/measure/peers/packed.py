"""This project's packed kernels: float32 in, float32 out, gate, sign and packing included."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ebcore.measure.cases import Case, Convolution, Network
from ebcore.measure.peers.peer import Peer, Unsupported
from ebcore.measure.timing import Call, SelfTimed


class Packed(Peer):
    title = "packed"
    arithmetic = "binary"
    bf16: ClassVar[bool] = False

    def version(self) -> str:
        import ebcore
        from ebcore.packed import isa

        return f"ebcore {ebcore.__version__} {isa()}"

    def prepare(self, case: Case, threads: int) -> Call | SelfTimed:
        if isinstance(case, Convolution):
            return self._layer(case, threads)
        return self._network(case, threads)

    def _network(self, case: Network, threads: int) -> Call:
        """Input and output are bound beforehand, as with ONNX Runtime and OpenVINO."""
        from ebcore.packed import load, pack
        from ebcore.packed.native import NativeError, NativeModel

        _, channels, height, width = case.input_shape
        image = channels, height, width
        packed = load(case.packed) if case.packed else pack(case.binary(), image)
        native = NativeModel(packed.graph, packed.isa)
        if self.bf16:
            try:
                native.use_bf16()
            except NativeError as error:
                raise Unsupported(str(error)) from None
        batch, x = case.batch_size, case.input()
        out = np.empty((batch, *native.shape(len(packed.graph.nodes))), np.float32)
        addresses = x.ctypes.data, out.ctypes.data
        held = x, out

        def call() -> None:
            assert held
            native.run(addresses[0], batch, addresses[1], threads, None)

        return call

    def _layer(self, case: Convolution, threads: int) -> SelfTimed:
        """As between two real-valued layers, channels last; the images one after the other."""
        import torch

        from ebcore.packed import pack
        from ebcore.packed.native import NativeModel, Part

        packed = pack(torch.nn.Sequential(case.binary()), (case.inputs, case.height, case.width))
        native, x = NativeModel(packed.graph, packed.isa), case.input()
        index = next(i for i, n in enumerate(packed.graph.nodes) if n.op == "binary_conv")

        def seconds(calls: int) -> float:
            (one,) = native.time(
                index, Part.END_TO_END, x.ctypes.data, threads=threads, inner=calls
            )
            return one * case.batch_size

        return SelfTimed(seconds)

    def limits(self) -> dict[str, float]:
        """What one core reaches in registers, MAC/s, by kind of arithmetic."""
        from ebcore.packed import isa
        from ebcore.packed.native import limits

        return limits(isa())


class PackedBf16(Packed):
    """Real-valued layers in bf16, an option that costs accuracy; the binary ones are the same."""

    title = "packed, bf16"
    layers = False
    bf16 = True
