"""Mixing groups without an operation (ShuffleNet section 3.1)."""

from __future__ import annotations

from torch import Tensor, nn


class ChannelShuffle(nn.Module):
    """Channel k of group g becomes channel g of group k, so that every group gets some of each.

    Args:
        groups: G; the channels must be a multiple of it.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape; channel g * C / G + k goes to k * G + g."""
        return x.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
