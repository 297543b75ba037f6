"""SqueezeNet 1.0 as Hybrid Binary Networks released it: with BN, without biases in between."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ebcore.errors import InputError
from ebcore.models.binarization import binary_convs
from ebcore.models.conv_chain import SMALL_STEM, STEMS
from ebcore.models.hybrid_net import ConvLayer, HybridNet, Version, last_conv, scaled

# Channels of squeeze and of each expand; a pooling stands before the fourth and the eighth.
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
_POOL_BEFORE = (3, 7)


class Fire(nn.Module):
    """squeeze 1x1, then expand 1x1 and 3x3 side by side: layers `first` to `first + 2`."""

    def __init__(
        self, first: int, in_channels: int, squeezed: int, expanded: int, version: Version
    ) -> None:
        super().__init__()
        self.squeeze = ConvLayer(first, in_channels, squeezed, 1, version)
        self.expand1 = ConvLayer(first + 1, squeezed, expanded, 1, version)
        self.expand3 = ConvLayer(first + 2, squeezed, expanded, 3, version, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, 2 * expanded, H, W]."""
        x = self.squeeze(x)
        return torch.cat([self.expand1(x), self.expand3(x)], 1)


def squeezenet(
    num_classes: int = 250,
    *,
    version: str = "fbin",
    real_inputs: Sequence[int] = (),
    binary_last: bool = False,
    in_channels: int = 1,
    stem: str = "released",
    width: float = 1.0,
    dropout: float = 0.2,
) -> HybridNet:
    """A first convolution, eight fire modules with the layers 2 to 25, and a classifier.

    A ReLU stands behind the classifier, before the mean over pixels, as released.

    Args:
        version, real_inputs, binary_last, stem, width: as `ebcore.models.alexnet.alexnet`.
        dropout: share of the classifier's inputs dropped in training.

    Raises:
        InputError: settings that do not go together.
    """
    config: dict[str, Any] = {"architecture": "squeezenet", **locals()}
    if stem not in STEMS:
        raise InputError(f"stem {stem!r}", "is unknown", f"Use one of {', '.join(STEMS)}.")
    chosen = Version(version, tuple(real_inputs), binary_last)
    channels = scaled(96, width)
    geometry = (7, 2, 0) if stem == "released" else SMALL_STEM
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, channels, *geometry), norm1=nn.BatchNorm2d(channels)
    )
    layers["relu1"] = nn.ReLU()
    if stem == "released":
        layers["pool1"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    for index, (squeezed, expanded) in enumerate(_FIRES):
        if index in _POOL_BEFORE:
            layers[f"pool{index + 1}"] = nn.MaxPool2d(3, 2, ceil_mode=True)
        squeezed, expanded = scaled(squeezed, width), scaled(expanded, width)
        layers[f"fire{index + 2}"] = Fire(2 + 3 * index, channels, squeezed, expanded, chosen)
        channels = 2 * expanded
    layers["drop"] = nn.Dropout(dropout)
    last = last_conv(channels, num_classes, chosen, bias=True)
    classifier = nn.Sequential(last, nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    model = HybridNet(
        nn.Sequential(layers), classifier, config | {"real_inputs": sorted(real_inputs)}
    )
    _initialise(model)
    return model


def _initialise(model: HybridNet) -> None:
    """Kaiming-uniform over the fan-in, the classifier normal with 0.01, as released."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    *others, last = binary_convs(model).values()
    for conv in others:
        nn.init.kaiming_uniform_(conv.weight.data[0])
    nn.init.normal_(last.weight, 0, 0.01)
