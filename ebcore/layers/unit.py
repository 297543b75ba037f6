"""One convolution with everything around it (EBConv's code; Real-to-Binary section 4.1)."""

from __future__ import annotations

from torch import Tensor, nn

from ebcore.layers.binary_conv import BinaryConv2d


class ConvUnit(nn.Module):
    """BN -> sign -> binary conv -> scale -> activation, plus its own shortcut.

    Args:
        norm: BatchNorm2d over the input's channels; its bias acts as learned threshold.
        conv: the binary convolution.
        activation: e.g. PReLU with one slope per channel.
        shortcut: identity, or a module that fits resolution and channels.
    """

    def __init__(
        self, norm: nn.Module, conv: BinaryConv2d, activation: nn.Module, shortcut: nn.Module
    ) -> None:
        super().__init__()
        self.norm, self.conv, self.activation, self.shortcut = norm, conv, activation, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, H', W']."""
        out: Tensor = self.activation(self.conv(self.norm(x))) + self.shortcut(x)
        return out
