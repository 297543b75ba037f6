"""PyTorch's own int8; a single layer from int8 to int8."""

from __future__ import annotations

from ebcore.measure.cases import Case, Convolution
from ebcore.measure.peers.peer import Peer, Unsupported
from ebcore.measure.timing import Call


class TorchInt8(Peer):
    title = "torch int8"
    arithmetic = "int8"
    amx = True

    def prepare(self, case: Case, threads: int) -> Call:
        import torch

        from ebcore.measure.int8 import NoInt8, quantize_network, quantized_conv

        torch.set_num_threads(threads)
        x = torch.from_numpy(case.input())
        try:
            if isinstance(case, Convolution):
                return quantized_conv(case.real(), x)
            module = quantize_network(case.real(), x)
        except NoInt8 as error:
            raise Unsupported(str(error)) from None
        return lambda: module(x)
