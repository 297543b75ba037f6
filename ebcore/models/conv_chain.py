"""A chain of convolutions and max poolings that ends in fully connected layers, from a table."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ebcore.errors import InputError
from ebcore.models.hybrid_net import (
    ConvLayer,
    HybridNet,
    Version,
    initialise,
    last_conv,
    scaled,
)

STEMS = ("released", "small")


@dataclass(frozen=True)
class Conv:
    """One convolution of the table.

    Attributes:
        kernel_size: px; 0 is the side of what is left: the first fully connected layer.
        pool: a max pooling of 3x3 px, stride 2, follows.
        drop: a dropout of channels follows.
    """

    out_channels: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    pool: bool = False
    drop: bool = False

    def side(self, side: int) -> int:
        """Of the output for an input of `side` px; below 1 where the input is too small."""
        kernel_size = self.kernel_size or side
        out = (side + 2 * self.padding - kernel_size) // self.stride + 1
        return (out - 3) // 2 + 1 if self.pool else out


SMALL_STEM = (3, 1, 1)  # kernel, stride, padding of the first layer, without pooling: our choice


def conv_chain(table: Sequence[Conv], config: dict[str, Any]) -> HybridNet:
    """Builds a network of a table; the fully connected layers are 1x1 convolutions.

    Args:
        table: layers 1 to P; the classifier is added.
        config: "architecture" and the arguments of its function.

    Raises:
        InputError: an unknown stem, an image too small for the table, or what `Version` refuses.
    """
    if config["stem"] not in STEMS:
        raise InputError(
            f"stem {config['stem']!r}", "is unknown", f"Use one of {', '.join(STEMS)}."
        )
    version = Version(config["version"], tuple(config["real_inputs"]), config["binary_last"])
    first, *rest = table
    if config["stem"] == "small":
        first = Conv(first.out_channels, *SMALL_STEM)
    width, side, channels = config["width"], config["image_size"], config["in_channels"]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, conv in enumerate((first, *rest), start=1):
        out, kernel_size = scaled(conv.out_channels, width), conv.kernel_size or side
        if number == 1:
            layers["conv1"] = nn.Conv2d(channels, out, kernel_size, conv.stride, conv.padding)
            layers["norm1"], layers["relu1"] = nn.BatchNorm2d(out), nn.ReLU()
        else:
            layers[f"layer{number}"] = ConvLayer(
                number,
                channels,
                out,
                kernel_size,
                version,
                stride=conv.stride,
                padding=conv.padding,
            )
        if conv.pool:
            layers[f"pool{number}"] = nn.MaxPool2d(3, 2)
        if conv.drop:
            layers[f"drop{number}"] = nn.Dropout2d(config["dropout"])
        side, channels = conv.side(side), out
        if side < 1:
            raise InputError(
                f"image_size {config['image_size']}",
                f"leaves nothing behind layer {number} of {config['architecture']}",
                "Use a larger image, or stem='small'.",
            )
    classifier = nn.Sequential(last_conv(channels, config["num_classes"], version, bias=True))
    model = HybridNet(nn.Sequential(layers), classifier, config)
    initialise(model)
    return model
