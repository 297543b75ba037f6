"""PReLU between two learned shifts: ReActNet's RPReLU (section 4.2 there)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ShiftedPReLU(nn.Module):
    """y = z + offset where z = x - threshold >= 0, else slope * z + offset; all per channel.

    Starts as PReLU does: threshold and offset 0, slope 0.25.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.zeros(channels))
        self.slope = nn.Parameter(torch.full((channels,), 0.25))
        self.offset = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape."""
        shifted = x - self.threshold.view(-1, 1, 1)
        return F.prelu(shifted, self.slope) + self.offset.view(-1, 1, 1)

    def extra_repr(self) -> str:
        return f"channels={len(self.slope)}"
