"""The network family."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d, ConvUnit
from ebcore.models import resnet
from ebcore.models.binarization import binary_convs


@settings(max_examples=12, deadline=None)
@given(
    stem=st.sampled_from(["small", "half", "basic", "efficient"]),
    shortcut=st.sampled_from(["plain", "binary", "linear", "relu", "prelu"]),
    pointwise=st.booleans(),
    se=st.booleans(),
    experts=st.sampled_from([1, 3]),
    size=st.integers(33, 40),
)
def test_every_variant_runs_on_even_and_odd_sizes(
    stem: str, shortcut: str, pointwise: bool, se: bool, experts: int, size: int
) -> None:
    model = resnet(
        "1121-2-2:2:4:4",
        experts=experts,
        num_classes=5,
        stem=stem,
        shortcut=shortcut,
        pointwise=pointwise,
        se=se,
        width=8,
        stem_width=8,
    )
    logits = model(torch.randn(2, 3, size, size))
    assert logits.shape == (2, 5)
    logits.sum().backward()


def test_block_layout_of_the_final_network() -> None:
    model = resnet("1262-2-4:8:8:16", experts=2)
    assert [len(stage) for stage in model.stages] == [1, 2, 6, 2]
    units = [m for m in model.modules() if isinstance(m, ConvUnit)]
    assert len(units) == 3 * 11  # two 3x3 and one 1x1 a block
    first = model.stages[1][0]
    assert [(u.conv.kernel_size, u.conv.stride, u.conv.groups) for u in first] == [
        (3, 2, 8),
        (3, 1, 8),
        (1, 1, 1),
    ]
    # r = E^2 = 4: 128 -> 32 -> 256, after average pooling
    shapes = [tuple(p.shape) for p in first[0].shortcut.parameters() if p.dim() == 4]
    assert shapes == [(32, 128, 1, 1), (256, 32, 1, 1)]
    assert isinstance(first[1].shortcut, torch.nn.Identity)


def test_the_first_stage_needs_a_shortcut_where_the_stem_is_narrower() -> None:
    model = resnet("1111-2-1:1:1:1", experts=1)
    assert not isinstance(model.stages[0][0][0].shortcut, torch.nn.Identity)
    model = resnet("1111-1-1:1:1:1", experts=1)
    assert isinstance(model.stages[0][0][0].shortcut, torch.nn.Identity)


def test_one_expert_is_binary_too() -> None:
    for conv in binary_convs(resnet("1111-1-1:1:1:1", experts=1)).values():
        assert conv.binary_input and conv.binary_weight


def test_a_binary_shortcut_has_no_real_convolution() -> None:
    model = resnet("1111-1-1:1:1:1", experts=2, shortcut="binary")
    shortcut = model.stages[1][0][0].shortcut
    kinds = [type(m) for m in shortcut]
    assert BinaryConv2d in kinds and torch.nn.Conv2d not in kinds


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"stem": "huge"}, "efficient, basic, small, half"),
        ({"shortcut": "none"}, "plain, binary, grouped, concat, linear, relu, prelu"),
        ({"spec": "1111-1-3:1:1:1"}, "64 -> 64 channels, not in 3 groups"),
    ],
)
def test_impossible_structures_are_refused(options: dict[str, str], text: str) -> None:
    with pytest.raises(InputError, match=text):
        resnet(**{"spec": "1111-1-1:1:1:1", **options})  # type: ignore[arg-type]
