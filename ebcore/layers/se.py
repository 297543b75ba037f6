"""Data-driven output scale (Real-to-Binary section 4.3, Eq. 3)."""

from __future__ import annotations

from torch import Tensor, nn


class SqueezeExcite(nn.Module):
    """Per-sample, per-channel factor in (0, 1) from the pooled input.

    Args:
        in_channels: C of the pooled vector.
        out_channels: number of factors O.
        ratio: O / hidden width; r in the paper, 8 there.
    """

    def __init__(self, in_channels: int, out_channels: int, ratio: int = 8) -> None:
        super().__init__()
        hidden = max(1, out_channels // ratio)
        self.reduce = nn.Linear(in_channels, hidden, bias=False)
        self.expand = nn.Linear(hidden, out_channels, bias=False)

    def forward(self, pooled: Tensor) -> Tensor:
        """`pooled` [B, C] -> factors [B, O]."""
        factors: Tensor = self.expand(self.reduce(pooled).relu()).sigmoid()
        return factors
