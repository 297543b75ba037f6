"""More channels without an operation (ReActNet section 4.1: duplicated inputs)."""

from __future__ import annotations

from torch import Tensor, nn


class RepeatChannels(nn.Module):
    """Concatenates its input with itself.

    Args:
        times: how often the channels come.
    """

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, times * C, H, W]."""
        return x.repeat(1, self.times, 1, 1)

    def extra_repr(self) -> str:
        return f"times={self.times}"
