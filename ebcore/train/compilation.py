"""torch.compile for a training's networks."""

from __future__ import annotations

import os
import shutil
from typing import cast

import torch
from torch import nn

from ebcore.errors import InputError


def compiled(module: nn.Module, wanted: bool, device: torch.device) -> nn.Module:
    """The module with its loops fused, or itself where that is not wanted.

    Fusing pays: without it most of a binary network's step goes into loading and storing values
    between BatchNorm, sign, scale, activation and addition. Shapes are fixed, so that a resumed run
    computes with the same code as an unbroken one.

    Raises:
        InputError: on a CPU without a C++ compiler.
    """
    if not wanted:
        return module
    if device.type == "cpu" and cpp_compiler() is None:
        raise InputError(
            "compile: true",
            "needs a C++ compiler",
            "Install g++ or name yours in CXX; or set compile: false.",
        )
    return cast(nn.Module, torch.compile(module, dynamic=False))


def cpp_compiler() -> str | None:
    """The path of the compiler that torch.compile uses on a CPU: g++, or what CXX names."""
    return shutil.which(os.environ.get("CXX", "g++"))
