"""The EBConv family of residual networks (EBConv sections 4.2 and 4.3, Fig. 5)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d, ConvUnit
from ebcore.models.shortcuts import SHORTCUTS, make_shortcut
from ebcore.models.spec import parse_spec
from ebcore.models.stems import STEMS

_BLOCK_NORM_EPS = 1e-4  # as in the authors' test model


class Block(nn.Sequential):
    """Two grouped 3x3 units, then an ungrouped 1x1 unit that mixes the groups (section 4.3)."""


class EBResNet(nn.Module):
    """Stem, four stages of blocks, average pooling, classifier. Build it with `resnet`."""

    def __init__(self, stem: nn.Module, stages: list[nn.Sequential], fc: nn.Linear) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = fc
        self.config: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}

    def features(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] -> vectors [B, D] before the classifier."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        out: Tensor = self.pool(x).flatten(1)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Images float [B, C, H, W] -> logits [B, classes]."""
        logits: Tensor = self.fc(self.features(x))
        return logits


def resnet(
    spec: str = "1262-2-4:8:8:16",
    *,
    experts: int = 4,
    num_classes: int = 1000,
    stem: str = "efficient",
    shortcut: str = "prelu",
    shortcut_ratio: float | None = None,
    pointwise: bool = True,
    se: bool = False,
    se_ratio: int = 8,
    width: int = 64,
    stem_width: int = 64,
    in_channels: int = 3,
    gate: str = "softmax",
    temperature: float = 1.0,
) -> EBResNet:
    """Builds a network from the paper's structure name.

    Args:
        spec: N0N1N2N3-E-G0:G1:G2:G3; stage i has int(width * E * 2^i) channels.
        experts: N of every binary convolution outside the shortcuts; 1 is a binary network too.
        stem: "efficient", "basic" (7x7) or "small" (for 32x32 images).
        shortcut: "plain", "binary", or decomposed "linear", "relu", "prelu" (A.2.1).
        shortcut_ratio: I / middle width of a decomposed shortcut; None is E^2.
        pointwise: the binary 1x1 after each block's two 3x3.
        se, se_ratio: Real-to-Binary's output scale.
        width, stem_width: channels of ResNet's first stage, and of the stem.
        gate, temperature: the gate's backward activation (Table 9).

    Raises:
        InputError: an unknown name, or groups that do not divide a stage's channels.
    """
    config = dict(locals())
    structure = parse_spec(spec)
    _known("stem", stem, tuple(STEMS))
    _known("shortcut", shortcut, SHORTCUTS)
    if shortcut_ratio is None:
        shortcut_ratio = max(1.0, structure.expansion**2)
    conv_options: dict[str, Any] = {
        "experts": experts,
        "se": se,
        "se_ratio": se_ratio,
        "gate": gate,
        "temperature": temperature,
    }

    def unit(i: int, o: int, kernel: int, stride: int, groups: int) -> ConvUnit:
        conv = BinaryConv2d(
            i, o, kernel, stride=stride, padding=kernel // 2, groups=groups, **conv_options
        )
        fits = stride == 1 and i == o
        skip = nn.Identity() if fits else make_shortcut(shortcut, i, o, stride, shortcut_ratio)
        return ConvUnit(nn.BatchNorm2d(i, eps=_BLOCK_NORM_EPS), conv, nn.PReLU(o), skip)

    def block(i: int, o: int, stride: int, groups: int) -> Block:
        units = [unit(i, o, 3, stride, groups), unit(o, o, 3, 1, groups)]
        return Block(*units, *([unit(o, o, 1, 1, 1)] if pointwise else []))

    stages, previous = [], stem_width
    for index, channels in enumerate(structure.channels(width)):
        groups = structure.groups[index]
        if previous % groups or channels % groups:
            raise InputError(
                f"structure {spec!r}",
                f"stage {index} has {previous} -> {channels} channels, not in {groups} groups",
                "Choose groups that divide both, or another width or stem_width.",
            )
        stride = 1 if index == 0 else 2
        first = block(previous, channels, stride, groups)
        rest = [block(channels, channels, 1, groups) for _ in range(structure.blocks[index] - 1)]
        stages.append(nn.Sequential(first, *rest))
        previous = channels
    model = EBResNet(STEMS[stem](in_channels, stem_width), stages, nn.Linear(previous, num_classes))
    model.config = config
    return model


def _known(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} {value!r}", "is unknown", f"Use one of {', '.join(allowed)}.")
