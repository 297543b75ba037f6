"""PyTorch fp32 through torch.compile, with weights frozen into the program and laid out for it."""

from __future__ import annotations

import os
import shutil

from ebcore.measure.cases import Case, Convolution
from ebcore.measure.peers.peer import Peer, Unsupported
from ebcore.measure.timing import Call


class TorchCompiled(Peer):
    title = "torch.compile fp32"
    arithmetic = "fp32"
    quick = False

    def unavailable(self) -> str:
        if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++")):
            return "no C++ compiler"
        return super().unavailable()

    def prepare(self, case: Case, threads: int) -> Call:
        if isinstance(case, Convolution):
            raise Unsupported("one convolution is oneDNN's, which has a row of its own")
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        import torch
        import torch._inductor.config as inductor

        torch.set_num_threads(threads)
        inductor.freezing = True
        x, module = torch.from_numpy(case.input()), torch.compile(case.real())
        module(x)
        return lambda: module(x)
