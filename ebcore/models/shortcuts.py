"""Shortcuts where resolution or channels change (EBConv A.2.1, Fig. 4, Table 8; FTBNN)."""

from __future__ import annotations

from torch import nn

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d, RepeatChannels
from ebcore.models.layout import Layout

SHORTCUTS = ("plain", "binary", "grouped", "concat", "linear", "relu", "prelu")


def make_shortcut(
    kind: str,
    in_channels: int,
    out_channels: int,
    stride: int,
    *,
    groups: int,
    ratio: float,
    layout: Layout,
) -> nn.Module:
    """AvgPool(stride) -> 1x1 convolution -> BatchNorm, whole or decomposed.

    Args:
        kind: "plain" (one real 1x1), "binary" (one binary 1x1), "grouped" (the same in groups),
            "concat" (the pooled channels repeated: no convolution, no BatchNorm), or decomposed
            with nothing ("linear"), ReLU or PReLU after each of its two BatchNorms.
        groups: of the grouped kind.
        ratio: I / middle width of the decomposed kinds; with 1 they are the plain one.
        layout: gives the binary kinds their scale, and BatchNorm the side it has in the blocks.

    Raises:
        InputError: O is no multiple of I, for "concat".
    """
    # ceil_mode gives a strided 3x3's size on odd inputs, and changes nothing on even ones.
    pool = [nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)] if stride > 1 else []
    if kind == "concat":
        if out_channels % in_channels:
            raise InputError(
                f"shortcut {kind!r}",
                f"cannot make {out_channels} channels of {in_channels}",
                "Choose a whole multiple (stem_width, width, E), or shortcut='grouped'.",
            )
        return nn.Sequential(*pool, RepeatChannels(out_channels // in_channels))
    if kind in ("binary", "grouped"):
        parts = groups if kind == "grouped" else 1
        conv = BinaryConv2d(in_channels, out_channels, 1, groups=parts, scale=layout.scale)
        if "norm" in layout.before:
            return nn.Sequential(*pool, nn.BatchNorm2d(in_channels), conv)
        return nn.Sequential(*pool, conv, nn.BatchNorm2d(out_channels))
    if kind == "plain" or ratio == 1:
        return nn.Sequential(*pool, *_conv_norm(in_channels, out_channels))
    middle = max(1, int(in_channels / ratio))
    return nn.Sequential(
        *pool,
        *_conv_norm(in_channels, middle),
        *_activation(kind, middle),
        *_conv_norm(middle, out_channels),
        *_activation(kind, out_channels),
    )


def _conv_norm(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)]


def _activation(kind: str, channels: int) -> list[nn.Module]:
    if kind == "linear":
        return []
    return [nn.ReLU() if kind == "relu" else nn.PReLU(channels)]
