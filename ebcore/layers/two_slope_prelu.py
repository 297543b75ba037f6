"""PReLU with a learned slope on either side of 0 (FTBNN's FPReLU as far as is known)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TwoSlopePReLU(nn.Module):
    """y = upper * x where x >= 0, else lower * x; both slopes per channel and learned.

    Starts as PReLU does: lower 0.25, upper 1 (PokeBNN's start for its own two slopes).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lower = nn.Parameter(torch.full((channels,), 0.25))
        self.upper = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape."""
        slopes = torch.where(x < 0, self.lower.view(-1, 1, 1), self.upper.view(-1, 1, 1))
        return x * slopes

    def extra_repr(self) -> str:
        return f"channels={len(self.lower)}"
