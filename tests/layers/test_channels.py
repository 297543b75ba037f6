"""Layers that move channels about, by hand."""

from __future__ import annotations

import torch

from ebcore.layers import ChannelShuffle, RepeatChannels


def numbered(channels: int) -> torch.Tensor:
    return torch.arange(float(channels)).view(1, channels, 1, 1).expand(2, channels, 2, 3)


def test_shuffle_by_hand() -> None:
    out = ChannelShuffle(2)(numbered(6))
    # groups 0 1 2 | 3 4 5: the first of each, the second of each, the third of each
    assert out[0, :, 0, 0].tolist() == [0, 3, 1, 4, 2, 5]
    assert out.shape == (2, 6, 2, 3)
    assert torch.equal(out, torch.nn.ChannelShuffle(2)(numbered(6).contiguous()))


def test_every_group_gets_some_of_each() -> None:
    groups = ChannelShuffle(4)(numbered(16))[0, :, 0, 0].view(4, 4) // 4
    assert [sorted(group.tolist()) for group in groups] == [[0, 1, 2, 3]] * 4


def test_repeated_channels() -> None:
    out = RepeatChannels(3)(numbered(2))
    assert out[0, :, 0, 0].tolist() == [0, 1, 0, 1, 0, 1]
    assert out.shape == (2, 6, 2, 3)
