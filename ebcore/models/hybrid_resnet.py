"""ResNet-18 as Hybrid Binary Networks released it: one skip a block, its 3x3 numbered 2 to 17.

The released hybrid files feed block 2 of the first stage with the stem's output, past block 1; here
every block reads the one before it, as in the released FBin and WBin files.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import nn

from ebcore.errors import InputError
from ebcore.models.blocks import Residual
from ebcore.models.hybrid_net import (
    ConvLayer,
    HybridNet,
    Version,
    hybrid_conv,
    initialise,
    last_conv,
    scaled,
)
from ebcore.models.stems import STEMS

_STEMS = ("basic", "half", "small")


def hybrid_resnet(
    num_classes: int = 1000,
    *,
    version: str = "fbin",
    real_inputs: Sequence[int] = (),
    binary_last: bool = False,
    in_channels: int = 3,
    stem: str = "basic",
    width: int = 64,
) -> HybridNet:
    """Stem, four stages of two blocks with two 3x3 each, mean over pixels, classifier.

    Args:
        version, real_inputs, binary_last: see `ebcore.models.hybrid_net.Version`. The 1x1 of the
            shortcuts have no number: their inputs are binary in "fbin" alone, as released.
        stem: "basic" (7x7 and max pooling), or for small images "small" (3x3) or "half" (two 3x3).
        width: channels of the stem and the first stage.

    Raises:
        InputError: settings that do not go together.
    """
    config: dict[str, Any] = {"architecture": "hybrid-resnet-18", **locals()}
    if stem not in _STEMS:
        raise InputError(f"stem {stem!r}", "is unknown", f"Use one of {', '.join(_STEMS)}.")
    chosen = Version(version, tuple(real_inputs), binary_last)
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=STEMS[stem](in_channels, width, "relu"))
    channels = width
    for index in range(8):
        out, stride = scaled(width, 2 ** (index // 2)), 2 if index in (2, 4, 6) else 1
        first = ConvLayer(2 + 2 * index, channels, out, 3, chosen, stride=stride, padding=1)
        second = ConvLayer(3 + 2 * index, out, out, 3, chosen, padding=1, relu=False)
        body = nn.Sequential(OrderedDict(first=first, second=second))
        layers[f"block{index + 1}"] = Residual(body, _shortcut(channels, out, stride, chosen))
        layers[f"relu{index + 1}"] = nn.ReLU()
        channels = out
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    classifier = nn.Sequential(last_conv(channels, num_classes, chosen, bias=False))
    model = HybridNet(
        nn.Sequential(layers), classifier, config | {"real_inputs": sorted(real_inputs)}
    )
    initialise(model)
    return model


def _shortcut(in_channels: int, out_channels: int, stride: int, version: Version) -> nn.Module:
    if stride == 1:
        return nn.Identity()
    binary = version.name == "fbin"
    conv = hybrid_conv(in_channels, out_channels, 1, version, not binary, stride)
    if binary:
        return nn.Sequential(nn.BatchNorm2d(in_channels), conv)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))
