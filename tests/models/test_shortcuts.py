"""The shortcuts without a real convolution, and what they cost."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d, RepeatChannels
from ebcore.measure import count_ops
from ebcore.models import EBResNet, resnet

SMALL = {"width": 8, "stem_width": 16, "num_classes": 2, "stem": "small", "pointwise": False}


def network(shortcut: str, **options: object) -> EBResNet:
    spec = "1111-2-4:4:4:4"  # 16, 32, 64, 128 channels
    return resnet(spec, shortcut=shortcut, **(SMALL | options))  # type: ignore[arg-type]


def kinds(model: EBResNet, stage: int = 1) -> list[str]:
    skip = model.get_submodule(f"stages.{stage}.0.0.shortcut")
    return [type(module).__name__ for module in skip.children()]


@pytest.mark.parametrize(
    ("shortcut", "expected"),
    [
        ("binary", ["AvgPool2d", "BatchNorm2d", "BinaryConv2d"]),
        ("grouped", ["AvgPool2d", "BatchNorm2d", "BinaryConv2d"]),
        ("concat", ["AvgPool2d", "RepeatChannels"]),
    ],
)
def test_layers(shortcut: str, expected: list[str]) -> None:
    model = network(shortcut)
    assert kinds(model) == expected
    assert not any(isinstance(m, nn.Conv2d) for m in model.stages.modules())
    # Stage 0 keeps 16 channels: nothing to fit.
    assert isinstance(model.get_submodule("stages.0.0.0.shortcut"), nn.Identity)


def test_a_grouped_shortcut_has_the_stages_groups() -> None:
    convs = [m for m in network("grouped").modules() if isinstance(m, BinaryConv2d)]
    assert {m.groups for m in convs} == {4}
    convs = [m for m in network("binary").modules() if isinstance(m, BinaryConv2d)]
    assert {m.groups for m in convs if m.kernel_size == 1} == {1}


def test_a_concatenated_shortcut_by_hand() -> None:
    skip = network("concat").get_submodule("stages.1.0.0.shortcut")
    x = torch.arange(16.0).view(1, 16, 1, 1).expand(1, 16, 2, 2)
    assert skip(x).flatten().tolist() == [*range(16), *range(16)]
    # 2 x 2 pixels are averaged
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0]]).expand(1, 16, 2, 2)
    assert skip(x).flatten().tolist() == [3.0] * 32


@pytest.mark.parametrize(
    ("shortcut", "bops", "flops"),
    [
        # stage 1's: 16 channels of 8 x 8 px, to 32 of 4 x 4
        ("plain", 0, 16 * 64 + 16 * 32 * 16 + 32 * 16),  # pool, 1x1, BN
        ("binary", 16 * 32 * 16, 16 * 64 + 16 * 16 + 32 * 16),  # pool, BN; alpha
        ("grouped", 16 * 32 * 16 // 4, 16 * 64 + 16 * 16 + 32 * 16),
        ("concat", 0, 16 * 64),  # pool
    ],
)
def test_operations(shortcut: str, bops: int, flops: int) -> None:
    skip = network(shortcut).get_submodule("stages.1.0.0.shortcut")
    count = count_ops(skip, (16, 8, 8))
    assert (count.bops, count.flops) == (bops, flops)


def test_channels_that_cannot_be_repeated() -> None:
    with pytest.raises(InputError, match="'concat': cannot make 20 channels of 16"):
        network("concat", width=10)


def test_odd_sizes_and_a_wider_first_stage() -> None:
    for shortcut in ("grouped", "concat"):
        model = network(shortcut, stem_width=4)
        assert model(torch.randn(2, 3, 9, 11)).shape == (2, 2)
        repeats = [m.times for m in model.modules() if isinstance(m, RepeatChannels)]
        assert repeats == ([4, 2, 2, 2] if shortcut == "concat" else [])
