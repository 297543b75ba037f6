"""The real-valued operations against PyTorch's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from ebcore.packed import pack

pytestmark = pytest.mark.usefixtures("forced_isa")
_SETTINGS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _check(module: nn.Module, *shape: int, batch: int = 2) -> None:
    module.eval()
    x = torch.randn(batch, *shape)
    with torch.no_grad():
        expected = module(x)
    out = pack(module, shape)(x)  # type: ignore[arg-type]
    limit = 1e-6 * float(expected.abs().max())
    torch.testing.assert_close(out.view_as(expected), expected, rtol=1e-5, atol=limit)


@_SETTINGS
@given(
    st.sampled_from([1, 2, 3, 5, 7]),
    st.integers(1, 3),
    st.integers(0, 3),
    st.sampled_from([(1, 3, 7), (1, 3, 32), (1, 20, 33), (2, 4, 34), (3, 6, 3), (1, 17, 64)]),
    st.integers(7, 19),
    st.booleans(),
)
def test_convolution(
    kernel: int, stride: int, padding: int, channels: tuple[int, int, int], size: int, bias: bool
) -> None:
    groups, i, o = channels[0], channels[1], channels[2]
    o += -o % groups
    conv = nn.Conv2d(i, o, kernel, stride, padding, groups=groups, bias=bias)
    _check(conv, i, size, size + 2)


@_SETTINGS
@given(
    st.sampled_from([1, 3, 4, 16, 21]),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
    st.integers(5, 12),
)
def test_pooling(
    channels: int, kernel: int, stride: int, padding: int, ceil: bool, include: bool, size: int
) -> None:
    padding = min(padding, kernel // 2)
    _check(nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil), channels, size, size + 3)
    average = nn.AvgPool2d(kernel, stride, padding, ceil, include)
    _check(average, channels, size, size + 3)


def test_max_pooling_ignores_its_padding() -> None:
    packed = pack(nn.MaxPool2d(3, 2, 1), (1, 2, 2))
    assert packed(torch.full((1, 1, 2, 2), -5.0)).item() == -5.0  # zero padding would give 0


def test_average_over_what_ceil_mode_leaves() -> None:
    pool = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
    out = pack(pool, (1, 1, 3))(torch.tensor([[[[1.0, 3.0, 7.0]]]]))
    assert out.flatten().tolist() == [(1 + 3) / 2, 7 / 1]


@pytest.mark.parametrize("channels", [1, 5, 16, 37])
def test_global_pool_and_classifier(channels: int) -> None:
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 11))
    _check(head, channels, 9, 8)


@pytest.mark.parametrize("channels", [2, 16, 19])
def test_standalone_norm_and_activations(channels: int) -> None:
    norm = nn.BatchNorm2d(channels)
    nn.init.normal_(norm.weight)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    _check(norm, channels, 3, 5)
    _check(nn.ReLU(), channels, 3, 5)
    prelu = nn.PReLU(channels)
    nn.init.normal_(prelu.weight)
    _check(prelu, channels, 3, 5)


def test_norm_and_activation_are_folded_into_the_convolution() -> None:
    stack = nn.Sequential(nn.Conv2d(3, 20, 3, 2, 1), nn.BatchNorm2d(20), nn.ReLU())
    nn.init.normal_(stack[1].weight)
    nn.init.normal_(stack[1].running_mean)
    _check(stack, 3, 9, 9)
    nodes = pack(stack.eval(), (3, 9, 9)).graph.nodes
    assert [node.op for node in nodes] == ["conv"]
    assert nodes[0].source == {"enter": "0", "leave": "2"}


def test_a_normalised_value_with_two_readers_is_not_folded() -> None:
    # The PReLU after the BN keeps the second BN from the convolution.
    stack = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.PReLU(4), nn.BatchNorm2d(4), nn.ReLU()
    )
    nn.init.constant_(stack[3].bias, 0.5)
    _check(stack, 3, 4, 4)
    ops = [node.op for node in pack(stack.eval(), (3, 4, 4)).graph.nodes]
    assert ops == ["conv", "affine", "activation"]
