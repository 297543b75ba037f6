"""Operation counts, by hand and against the paper's printed figures."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ebcore.layers import BinaryConv2d
from ebcore.measure.ops import count_ops
from ebcore.measure.paper import ROWS, Row
from ebcore.models import parse_spec, resnet


def test_one_binary_convolution_by_hand() -> None:
    conv = BinaryConv2d(8, 16, 3, padding=1, groups=2, experts=2, se=True, se_ratio=8)
    count = count_ops(conv, (8, 5, 5))
    # 16 x 5 x 5 outputs of 4 x 3 x 3 taps
    assert count.bops == 16 * 25 * 4 * 9
    # alpha, SE's factor; pooling; gate 8 x 2; SE 8 x 2 + 2 x 16
    assert count.flops == 2 * 16 * 25 + 8 * 25 + 8 * 2 + 8 * 2 + 2 * 16
    assert count.params_binary == 2 * 16 * 4 * 9
    # alpha; gate with bias; SE
    assert count.params_real == 16 + (8 * 2 + 2) + 8 * 2 + 2 * 16
    assert count.bits == count.params_binary + 32 * count.params_real


def test_real_weights_are_real_operations_and_parameters() -> None:
    conv = BinaryConv2d(4, 4, 1)
    conv.binary_weight = False
    count = count_ops(conv, (4, 3, 3))
    assert (count.bops, count.flops) == (0, 4 * 9 * 4 + 4 * 9)
    assert (count.params_binary, count.params_real) == (0, 16 + 4)


def test_real_inputs_are_real_operations_and_binary_parameters() -> None:
    conv = BinaryConv2d(4, 4, 1, scale="xnor", bias=True)
    conv.binary_input = False
    count = count_ops(conv, (4, 3, 3))
    # 4 x 9 outputs of 4 taps, scale and bias
    assert (count.bops, count.flops) == (0, 4 * 9 * 4 + 2 * 4 * 9)
    assert (count.params_binary, count.params_real) == (16, 4)


def test_real_layers_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 10),
    )
    flops = [layer.flops for layer in count_ops(model, (3, 8, 8)).layers]
    assert flops == [4 * 64 * 27, 4 * 64, 4 * 64, 4 * 16 * 3, 4 * 16, 40]


def binary_operations(spec: str, pointwise: bool, side: int = 56, width: int = 64) -> int:
    """What the structure's name says, as arithmetic; `side` is the first stage's in px."""
    structure, total, previous = parse_spec(spec), 0, width
    for stage, blocks in enumerate(structure.blocks):
        channels = int(width * structure.expansion * 2**stage)
        pixels = (side // 2**stage) ** 2
        for _ in range(blocks):
            first = previous * channels // structure.groups[stage] * 9
            second = channels * channels // structure.groups[stage] * 9
            third = channels * channels if pointwise else 0
            total += (first + second + third) * pixels
            previous = channels
    return total


@settings(max_examples=5, deadline=None)
@given(
    blocks=st.tuples(*[st.integers(1, 2)] * 4),
    expansion=st.sampled_from(["1", "1.5", "2"]),
    groups=st.tuples(*[st.sampled_from([1, 2, 4])] * 4),
    pointwise=st.booleans(),
    experts=st.integers(1, 3),
    se=st.booleans(),
)
def test_binary_operations_follow_from_the_name(
    blocks: tuple[int, ...],
    expansion: str,
    groups: tuple[int, ...],
    pointwise: bool,
    experts: int,
    se: bool,
) -> None:
    spec = f"{''.join(map(str, blocks))}-{expansion}-{':'.join(map(str, groups))}"
    options = {"pointwise": pointwise, "experts": experts, "se": se, "stem": "small"}
    model = resnet(spec, width=8, stem_width=8, **options)  # type: ignore[arg-type]
    count = count_ops(model, (3, 16, 16))
    assert count.bops == binary_operations(spec, pointwise, side=16, width=8)
    assert count.params_binary + count.params_real == sum(p.numel() for p in model.parameters())
    assert count.bits == count.params_binary + 32 * count.params_real


# A name's count is arithmetic (test above), so every point of the figures can be checked at once.
FIGURES = [row for row in ROWS if " Fig. " in row.source]


def test_every_point_of_figures_2_and_3() -> None:
    assert len(FIGURES) == 17 + 15 + 10
    for row in FIGURES:
        bops = binary_operations(row.name, row.options.get("pointwise", True))
        assert row.bops is not None and abs(bops / 1e9 - row.bops) <= 0.001, row


@pytest.mark.slow
@pytest.mark.parametrize("row", FIGURES, ids=lambda row: f"{row.source}-{row.name}")
def test_every_point_of_figures_2_and_3_from_its_modules(row: Row) -> None:
    count = count_ops(on_meta(row.name, **row.options), (3, 224, 224))
    assert row.bops is not None and abs(count.bops / 1e9 - row.bops) <= 0.001


def on_meta(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return resnet(name, **options)  # type: ignore[arg-type]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=4, max_size=4), st.integers(0, 3), st.integers(0, 3))
def test_a_block_costs_the_same_in_every_stage(blocks: list[int], from_: int, to: int) -> None:
    """Why Fig. 2a's counts say nothing about which stages its blocks are in."""
    moved = list(blocks)
    moved[from_] -= 1
    moved[to] += 1
    if min(moved) >= 1 and max(moved) <= 9:
        for rest in ("-1-1:1:1:1", "-2-4:4:4:4"):
            before, after = ("".join(map(str, b)) + rest for b in (blocks, moved))
            assert binary_operations(before, False) == binary_operations(after, False)


# Table 4, e9 binary operations: as printed, and to the third decimal by arithmetic.
@pytest.mark.parametrize(
    ("spec", "printed", "bops"),
    [
        ("1242-2-4:4:16:32", 1.3, 1.308),
        ("1262-2-4:4:16:32", 1.5, 1.526),
        ("1282-2-4:4:16:32", 1.7, 1.745),
        ("1242-2-4:4:8:16", 1.6, 1.575),
        ("1262-2-4:4:8:16", 1.9, 1.909),
        ("1282-2-4:4:8:16", 2.2, 2.243),
        ("1262-2-4:8:8:16", 1.7, 1.707),
    ],
)
def test_table_4(spec: str, printed: float, bops: float) -> None:
    count = count_ops(on_meta(spec, experts=4), (3, 224, 224))
    assert round(count.bops / 1e9, 3) == bops
    assert round(count.bops / 1e9, 1) == printed
    assert int(count.flops / 1e7) / 10 == 1.1 or round(count.flops / 1e8, 1) == 1.1


def test_the_papers_final_network() -> None:
    model = resnet("1262-2-4:8:8:16", experts=4)
    count = count_ops(model, (3, 224, 224))
    assert round(count.bops / 1e9, 1) == 1.7
    assert round(count.flops / 1e8, 1) == 1.1
    assert count.params_binary + count.params_real == sum(p.numel() for p in model.parameters())


# Real-to-Binary's Table 1: the binary shortcuts add 1.93e7 (64 x 128 x 28^2 x (1 + 1 + 1)), and
# 1.69555e9 was cut to 1.695e9.
@pytest.mark.parametrize(
    ("name", "bops"),
    [
        ("bnn-18", 1.695),
        ("xnor-18", 1.695),
        ("double-skip-18", 1.695),
        ("bi-real-18", 1.676),
        ("strong-baseline-18", 1.676),
        ("real-to-binary-18", 1.676),
        ("ftbnn-18", 1.676),
    ],
)
def test_resnet_18(name: str, bops: float) -> None:
    model = on_meta(name)
    count = count_ops(model, (3, 224, 224))
    assert int(count.bops / 1e6) / 1e3 == bops
    plain = binary_operations("2222-1-1:1:1:1", False)
    assert count.bops - plain == (3 * 64 * 128 * 28**2 if bops == 1.695 else 0)
    assert count.params_binary + count.params_real == sum(p.numel() for p in model.parameters())


# One block of 4 channels at 6 x 6 px: its element-wise passes over 4 x 36 values each, in order.
@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        # no scale
        ("bnn-18", ["BatchNorm2d", "Hardtanh", "Add", "BatchNorm2d", "Hardtanh"]),
        ("xnor-18", [*["BatchNorm2d", "BinaryConv2d", "ReLU"] * 2, "Add"]),
        ("bi-real-18", ["BinaryConv2d", "BatchNorm2d", "Add"] * 2),
        ("strong-baseline-18", ["BatchNorm2d", "BinaryConv2d", "PReLU", "Add"] * 2),
    ],
)
def test_element_wise_passes_of_the_baselines(name: str, kinds: list[str]) -> None:
    block = resnet(name, width=4, stem_width=4).stages[0][0]
    layers = count_ops(block, (4, 6, 6)).layers
    assert sorted(layer.kind for layer in layers if layer.flops) == sorted(kinds)
    assert {layer.flops for layer in layers if layer.flops} == {4 * 36}


def test_counting_leaves_the_model_alone() -> None:
    model = resnet("1111-1-1:1:1:1", experts=2, width=8, stem_width=8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_ops(model, (3, 64, 64))
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
