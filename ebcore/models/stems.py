"""The real-valued first layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_ACTIVATIONS = {"relu": nn.ReLU, "hardtanh": nn.Hardtanh, "none": nn.Identity}


def conv_norm_act(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, act: str = "relu"
) -> nn.Sequential:
    """Convolution with 'same' padding, BatchNorm, activation."""
    conv = nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False
    )
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), _ACTIVATIONS[act]())


class EfficientStem(nn.Module):
    """The released network's stem, after daBNN: 44.6 M MACs at 224 px where a 7x7 needs 118 M.

    3x3/2 to W/2; branch A 1x1 to W/4 then 3x3/2 to W/2; branch B 3x3 max pooling / 2;
    concatenation [A, B]; 1x1 to W, whose activation is `act`. Reduces the resolution 4 times.
    """

    def __init__(self, in_channels: int, width: int, act: str) -> None:
        super().__init__()
        half, quarter = width // 2, width // 4
        self.conv1 = conv_norm_act(in_channels, half, 3, 2)
        self.branch_a1 = conv_norm_act(half, quarter, 1)
        self.branch_a2 = conv_norm_act(quarter, half, 3, 2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.conv3 = conv_norm_act(2 * half, width, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, W, H / 4, W / 4]."""
        x = self.conv1(x)
        out: Tensor = self.conv3(torch.cat([self.branch_a2(self.branch_a1(x)), self.pool(x)], 1))
        return out


class BasicStem(nn.Sequential):
    """ResNet's: 7x7/2, BatchNorm, `act`, 3x3 max pooling / 2."""

    def __init__(self, in_channels: int, width: int, act: str) -> None:
        super().__init__(*conv_norm_act(in_channels, width, 7, 2, act), nn.MaxPool2d(3, 2, 1))


class SmallStem(nn.Sequential):
    """For small images: 3x3/1, BatchNorm, `act`; keeps the resolution."""

    def __init__(self, in_channels: int, width: int, act: str) -> None:
        super().__init__(*conv_norm_act(in_channels, width, 3, act=act))


class HalfStem(nn.Sequential):
    """For small images in little time: 3x3/1 to W/2, 3x3/2 to W, each with BatchNorm.

    Halves the resolution, so that the same operations have half as many values to store and load.
    """

    def __init__(self, in_channels: int, width: int, act: str) -> None:
        first = conv_norm_act(in_channels, width // 2, 3)
        super().__init__(*first, *conv_norm_act(width // 2, width, 3, 2, act))


STEMS: dict[str, type[nn.Module]] = {
    "efficient": EfficientStem,
    "basic": BasicStem,
    "small": SmallStem,
    "half": HalfStem,
}
