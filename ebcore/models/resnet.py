"""The EBConv family of residual networks (EBConv sections 4.2 and 4.3, Fig. 5), and baselines."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import Tensor, nn

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d
from ebcore.models.blocks import Block, make_block
from ebcore.models.layout import ACTIVATIONS, LAYOUTS, POSITIONS, with_activation
from ebcore.models.named import options_of
from ebcore.models.network import Network
from ebcore.models.shortcuts import SHORTCUTS, make_shortcut
from ebcore.models.spec import parse_spec
from ebcore.models.stems import STEMS


class EBResNet(Network):
    """Stem, four stages of blocks, average pooling, classifier. Build it with `resnet`."""

    def __init__(self, stem: nn.Module, stages: list[nn.Sequential], fc: nn.Linear) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = fc

    def features(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] -> vectors [B, D] before the classifier."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        out: Tensor = self.pool(x).flatten(1)
        return out

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images float [B, C, H, W] -> features [B, D], logits [B, classes]."""
        features = self.features(x)
        return features, self.fc(features)


def resnet(
    spec: str = "1262-2-4:8:8:16",
    *,
    experts: int | None = None,
    num_classes: int = 1000,
    stem: str | None = None,
    shortcut: str | None = None,
    shortcut_ratio: float | None = None,
    pointwise: bool | None = None,
    shuffle: bool | None = None,
    se: bool | None = None,
    se_ratio: int = 8,
    width: int = 64,
    stem_width: int = 64,
    in_channels: int = 3,
    gate: str = "softmax",
    temperature: float = 1.0,
    layout: str | None = None,
    activation: str | None = None,
    activation_position: str | None = None,
) -> EBResNet:
    """Builds a network from the paper's structure name, or a known one from its own.

    Args:
        spec: N0N1N2N3-E-G0:G1:G2:G3; stage i has int(width * E * 2^i) channels. Or a name of
            `ebcore.models.named.NETWORKS`, such as "bi-real-18".
        experts: N of every binary convolution outside the shortcuts; 1 is a binary network too.
            None here and below is what the name says, else `ebcore.models.named.FAMILY`: 4.
        stem: "efficient", "basic" (7x7), or for 32x32 images "small" (keeps the resolution) or
            "half" (halves it: twice the channels for the same operations). Family: "efficient".
        shortcut: "plain", "binary", "grouped" (in the stage's groups), "concat", or decomposed
            "linear", "relu", "prelu" (A.2.1). Family: "prelu".
        shortcut_ratio: I / middle width of a decomposed shortcut; None is E^2.
        pointwise: the binary 1x1 after each block's two 3x3, which mixes groups. Family: True.
        shuffle: mix the groups without operations after each grouped 3x3. Family: False.
        se: Real-to-Binary's output scale, with hidden width O / se_ratio. Family: False.
        width, stem_width: channels of ResNet's first stage, and of the stem.
        gate, temperature: the gate's backward activation (Table 9).
        layout: order of layers in a block, a name of `ebcore.models.layout.LAYOUTS`. Family:
            "expert".
        activation: of the blocks, one of `ebcore.models.layout.ACTIVATIONS`. None: the layout's.
        activation_position: "before" the shortcut's addition, "after" it, or "both". None: where
            the layout has it.

    Raises:
        InputError: an unknown name, groups that do not divide a stage's channels, several experts
            in a layout whose scale comes from one kernel, or an activation or a shortcut that does
            not fit its place.
    """
    config: dict[str, Any] = dict(locals())
    options = options_of(spec)
    structure = parse_spec(options.pop("structure"))
    config |= {key: value for key, value in options.items() if config[key] is None}
    _known("stem", config["stem"], STEMS)
    _known("shortcut", config["shortcut"], SHORTCUTS)
    _known("layout", config["layout"], LAYOUTS)
    _known("activation", config["activation"] or "none", ACTIVATIONS)
    _known("activation_position", config["activation_position"] or "before", POSITIONS)
    order = with_activation(
        LAYOUTS[config["layout"]], config["activation"], config["activation_position"]
    )
    if order.scale == "mean" and config["experts"] > 1:
        raise InputError(
            f"layout {config['layout']!r}",
            f"scales by the mean weight of one kernel, and experts is {config['experts']}",
            "Use experts=1, or layout='expert'.",
        )
    if shortcut_ratio is None:
        shortcut_ratio = max(1.0, structure.expansion**2)
    conv_options: dict[str, Any] = {
        key: config[key] for key in ("experts", "se", "se_ratio", "gate", "temperature")
    } | {"scale": order.scale}

    def conv(i: int, o: int, kernel: int, stride: int, groups: int) -> BinaryConv2d:
        return BinaryConv2d(
            i, o, kernel, stride=stride, padding=kernel // 2, groups=groups, **conv_options
        )

    def block(i: int, o: int, stride: int, groups: int) -> Block:
        skip = partial(
            make_shortcut, config["shortcut"], groups=groups, ratio=shortcut_ratio, layout=order
        )
        return make_block(
            order,
            i,
            o,
            stride=stride,
            groups=groups,
            pointwise=config["pointwise"],
            shuffle=config["shuffle"],
            conv=conv,
            shortcut=skip,
        )

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
    first_layers = STEMS[config["stem"]](in_channels, stem_width, order.stem)
    model = EBResNet(first_layers, stages, nn.Linear(previous, num_classes))
    model.config = config
    return model


def _known(name: str, value: str, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise InputError(f"{name} {value!r}", "is unknown", f"Use one of {', '.join(allowed)}.")
