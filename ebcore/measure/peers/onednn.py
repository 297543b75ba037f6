"""oneDNN's direct fp32 convolution with weights and activations in its own layout beforehand."""

from __future__ import annotations

from typing import Any

from ebcore.measure.cases import Case, Network
from ebcore.measure.peers.peer import LAYERS_ONLY, Peer, Unsupported
from ebcore.measure.timing import Call


class OneDnn(Peer):
    title = "oneDNN fp32"
    arithmetic = "fp32"

    def unavailable(self) -> str:
        missing = super().unavailable()
        if missing:
            return missing
        import torch

        return "" if torch.backends.mkldnn.is_available() else "torch was built without oneDNN"

    def prepare(self, case: Case, threads: int) -> Call:
        if isinstance(case, Network):
            raise Unsupported(LAYERS_ONLY)
        import torch

        torch.set_num_threads(threads)
        conv, ops = case.real(), torch.ops.mkldnn
        padding, stride, dilation = [case.padding] * 2, [case.stride] * 2, [1, 1]
        x = torch.from_numpy(case.input()).to(memory_format=torch.channels_last)
        weight = ops._reorder_convolution_weight(
            conv.weight.detach(), padding, stride, dilation, case.groups, list(case.input_shape)
        )
        rest: Any = (padding, stride, dilation, case.groups, "none", [], "")
        return lambda: ops._convolution_pointwise(x, weight, None, *rest)
