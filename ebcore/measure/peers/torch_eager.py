"""PyTorch fp32, run eagerly."""

from __future__ import annotations

from ebcore.measure.cases import Case
from ebcore.measure.peers.peer import Peer
from ebcore.measure.timing import Call


class TorchEager(Peer):
    title = "torch fp32"
    arithmetic = "fp32"

    def prepare(self, case: Case, threads: int) -> Call:
        import torch

        torch.set_num_threads(threads)
        x, module = torch.from_numpy(case.input()), case.real()
        return lambda: module(x)
