"""Every activation in packed form, before and after the addition."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d, ConvUnit, ShiftedPReLU, TwoSlopePReLU
from ebcore.models import EBResNet
from ebcore.packed.agreement import agreement
from ebcore.packed.model import PackedModel, pack
from ebcore.packed.ops import AFTER_ADD, NONE, PIECEWISE, PRELU, RELU

KINDS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda _: nn.Identity(),
    "relu": lambda _: nn.ReLU(),
    "prelu": nn.PReLU,
    "two_slope_prelu": TwoSlopePReLU,
    "shifted_prelu": ShiftedPReLU,
}
CODES = {"relu": RELU, "prelu": PRELU, "two_slope_prelu": PIECEWISE, "shifted_prelu": PIECEWISE}


def stack(unit: ConvUnit, after: nn.Module) -> nn.Sequential:
    """A unit, what follows its addition, and a binary convolution whose input it may pack."""
    channels = unit.conv.out_channels
    last = BinaryConv2d(channels, 5, 3, padding=1)
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    model = nn.Sequential(unit, after, nn.BatchNorm2d(channels), last, *head)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model.eval()


def unit_of(channels: int, groups: int, activation: nn.Module) -> ConvUnit:
    conv = BinaryConv2d(channels, channels, 3, padding=1, groups=groups)
    return ConvUnit(nn.BatchNorm2d(channels), conv, activation, nn.Identity())


@pytest.mark.usefixtures("forced_isa")
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from([(4, 2), (16, 1), (20, 1), (32, 1), (48, 3), (64, 1), (96, 2), (130, 1)]),
    st.sampled_from(list(KINDS)),
    st.sampled_from(list(KINDS)),
    st.tuples(st.integers(3, 6), st.sampled_from([3, 7, 13, 14, 19, 30])),
)
def test_any_shape(
    channels: tuple[int, int], before: str, after: str, size: tuple[int, int]
) -> None:
    width, groups = channels
    model = stack(unit_of(width, groups, KINDS[before](width)), KINDS[after](width))
    packed = pack(model, (width, *size))
    report = agreement(model, packed, torch.randn(3, width, *size))
    assert report.ok, report.violations
    first = packed.graph.nodes[0]
    late = CODES[after] + AFTER_ADD if after != "none" else NONE
    expected = CODES[before] if before != "none" else late
    assert first.attrs["act"] == expected
    # One function is fused; a second one is a node of its own.
    *made, last, _ = packed.graph.nodes
    assert len(made) == 1 + ("none" not in (before, after))
    # A layer that packs the next one's input packs the signs of what it stores.
    x = torch.randn(2, width, *size)
    between, _ = packed.run_layer(made[0].name, x, x)
    if len(made) == 2:
        between, _ = packed.run_layer(made[1].name, between)
    scale, shift = (packed.graph.tensors[last.tensors[slot]] for slot in ("in_scale", "in_shift"))
    v = between * torch.tensor(scale).view(-1, 1, 1) + torch.tensor(shift).view(-1, 1, 1)
    assert torch.equal(packed.trace(x).layers["3"].bits, v >= 0)


@pytest.mark.parametrize("position", ["before", "after", "both"])
@pytest.mark.parametrize("activation", list(KINDS)[1:])
@pytest.mark.parametrize("width", [8, 32])  # parts of a block of lanes, and whole ones
def test_a_network_agrees(
    network: Callable[..., EBResNet], activation: str, position: str, width: int
) -> None:
    model = network(activation=activation, activation_position=position, width=width)
    packed = pack(model, (3, 16, 16))
    report = agreement(model, packed, torch.randn(8, 3, 16, 16))
    assert report.ok, report.violations
    nodes = [node for node in packed.graph.nodes if node.op == "activation"]
    assert len(nodes) == (12 if position == "both" else 0)


@pytest.mark.usefixtures("forced_isa")
@pytest.mark.parametrize("channels", [3, 16, 19])
def test_alone(channels: int) -> None:
    for kind in (TwoSlopePReLU, ShiftedPReLU):
        module = kind(channels)
        for parameter in module.parameters():
            nn.init.normal_(parameter)
        x = torch.randn(2, channels, 3, 5)
        out = pack(module.eval(), (channels, 3, 5))(x)
        torch.testing.assert_close(out, module(x).detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("act", "inputs"), [(AFTER_ADD, [0, 0]), (AFTER_ADD + PRELU, [0]), (8, [0, 0])]
)
def test_an_impossible_activation_is_refused(act: int, inputs: list[int]) -> None:
    packed = pack(unit_of(4, 1, nn.PReLU(4)).eval(), (4, 3, 3))
    node = packed.graph.nodes[0]
    node.attrs["act"], node.inputs = act, inputs
    with pytest.raises(InputError, match=r"not there|out of range"):
        PackedModel(packed.graph)
