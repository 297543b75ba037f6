"""Wider with groups at constant binary operations, and two ways to mix the groups."""

from __future__ import annotations

import pytest
import torch

from ebcore.layers import ChannelShuffle
from ebcore.measure import count_ops
from ebcore.models import EBResNet, resnet

OPTIONS = {"layout": "bi-real", "shortcut": "concat", "experts": 1, "num_classes": 2}


def variant(expansion: int, **options: object) -> EBResNet:
    """ResNet-18's blocks, E times as wide in E^2 groups."""
    groups = ":".join([str(expansion**2)] * 4)
    known = {**OPTIONS, "stem_width": 16 * expansion, "width": 16, "pointwise": False}
    return resnet(f"2222-{expansion}-{groups}", **(known | options))  # type: ignore[arg-type]


def test_width_and_groups_leave_the_binary_operations() -> None:
    counts = [count_ops(variant(e), (3, 64, 64)) for e in (1, 2, 4)]
    # 16 channels of 16 px. Later stages halve the side and double the channels, which costs the
    # same; their first convolution has half of the input channels.
    one = 16 * 16 * 9 * 16 * 16
    expected = 4 * one + 3 * (3 * one + one // 2)
    assert [count.bops for count in counts] == [expected] * 3
    # what groups do not save: elementwise passes, stem and classifier
    assert counts[0].flops < counts[1].flops < counts[2].flops


def test_shuffling_costs_nothing_and_a_pointwise_convolution_does() -> None:
    plain, shuffled, mixed = (
        count_ops(variant(2, **options), (3, 64, 64))
        for options in ({}, {"shuffle": True}, {"pointwise": True})
    )
    assert (shuffled.bops, shuffled.flops) == (plain.bops, plain.flops)
    assert mixed.bops - plain.bops == 4 * 2 * 32 * 32 * 16 * 16  # stages, blocks
    assert shuffled.params_binary == plain.params_binary < mixed.params_binary


def test_where_the_groups_are_shuffled() -> None:
    block = variant(2, shuffle=True, activation="prelu", activation_position="after").stages[1][0]
    names = [type(module).__name__ for module in block]  # type: ignore[union-attr]
    assert names == ["ConvUnit", "PReLU", "ChannelShuffle"] * 2
    without = variant(1, shuffle=True)
    assert not any(isinstance(m, ChannelShuffle) for m in without.modules())


@pytest.mark.parametrize(("shuffle", "reached"), [(False, 4), (True, 16)])
def test_shuffled_groups_see_each_other(shuffle: bool, reached: int) -> None:
    """Which of a grouped block's 16 channels one input channel can change, by the gradient."""
    block = resnet(
        "1111-1-4:4:4:4",
        layout="real",
        shortcut="plain",
        experts=1,
        width=16,
        stem_width=16,
        pointwise=False,
        shuffle=shuffle,
        activation="none",
    ).stages[0][0]
    for module in block.modules():
        if hasattr(module, "binary_input"):
            module.binary_input = module.binary_weight = False
    x = torch.randn(1, 16, 6, 6, requires_grad=True)
    out = block.eval()(x)[0, :, 3, 3] - x[0, :, 3, 3]  # the skip aside
    seen = [torch.autograd.grad(o, x, retain_graph=True)[0][0].abs().amax((1, 2)) for o in out]
    assert [int((g > 0).sum()) for g in seen] == [reached] * 16
