"""Blocks: convolutions of one stage with their shortcuts, built from a `Layout`."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from ebcore.layers import BinaryConv2d, ChannelShuffle, ConvUnit
from ebcore.models.layout import Layout, make_layers

MakeConv = Callable[[int, int, int, int, int], BinaryConv2d]  # I, O, kernel, stride, groups
MakeShortcut = Callable[[int, int, int], nn.Module]  # I, O, stride


class Residual(nn.Module):
    """body(x) + shortcut(x): one skip over several convolutions."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, H', W']."""
        out: Tensor = self.body(x) + self.shortcut(x)
        return out


class Block(nn.Sequential):
    """Two grouped 3x3 units, then maybe an ungrouped 1x1 unit that mixes the groups."""


def make_block(
    layout: Layout,
    in_channels: int,
    out_channels: int,
    *,
    stride: int,
    groups: int,
    pointwise: bool,
    shuffle: bool,
    conv: MakeConv,
    shortcut: MakeShortcut,
) -> Block:
    """A block whose first convolution changes resolution and channels.

    Args:
        pointwise: append the 1x1 (EBConv section 4.3).
        shuffle: mix the groups after each grouped convolution and its addition; with one skip over
            all units, before that.
        conv, shortcut: make the convolutions, and the shortcut where an identity does not fit.
    """
    shapes = [(in_channels, out_channels, 3, stride, groups)]
    shapes += [(out_channels, out_channels, 3, 1, groups)]
    shapes += [(out_channels, out_channels, 1, 1, 1)] if pointwise else []

    def skip(i: int, o: int, step: int) -> nn.Module:
        return nn.Identity() if step == 1 and i == o else shortcut(i, o, step)

    def mixing(parts: int) -> list[nn.Module]:
        return [ChannelShuffle(parts)] if shuffle and parts > 1 else []

    if layout.long_skip:
        body: list[nn.Module] = []
        for i, o, *rest in shapes:
            body += make_layers(layout.joint, i) if body else []
            body += make_layers(layout.before, i)
            body += [conv(i, o, *rest), *make_layers(layout.after, o), *mixing(rest[-1])]
        skipped = Residual(nn.Sequential(*body), skip(in_channels, out_channels, stride))
        return Block(skipped, *make_layers(layout.joint, out_channels))
    units: list[nn.Module] = []
    for i, o, kernel, step, parts in shapes:
        middle, own_skip = conv(i, o, kernel, step, parts), skip(i, o, step)
        before = _joined(make_layers(layout.before, i))
        units.append(ConvUnit(before, middle, _joined(make_layers(layout.after, o)), own_skip))
        units += [*make_layers(layout.joint, o), *mixing(parts)]
    return Block(*units)


def _joined(layers: list[nn.Module]) -> nn.Module:
    if not layers:
        return nn.Identity()
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)
