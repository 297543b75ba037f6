"""torch.compile for a training's networks."""

from __future__ import annotations

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
    if device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++"))):
        raise InputError(
            "compile: true", "needs a C++ compiler", "Install g++, or set compile: false."
        )
    return cast(nn.Module, torch.compile(module, dynamic=False))
