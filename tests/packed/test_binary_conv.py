"""The binary convolution against values one can follow and against F.conv2d on +1 and -1."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from ebcore.layers import BinaryConv2d
from ebcore.packed import LayerTrace, pack

pytestmark = pytest.mark.usefixtures("forced_isa")


def _trace(conv: BinaryConv2d, x: Tensor) -> LayerTrace:
    return pack(conv, tuple(x.shape[1:])).trace(x).layers[""]


def _conv(kernel: list[list[float]], **options: int) -> BinaryConv2d:
    conv = BinaryConv2d(1, 1, len(kernel), **options)
    conv.weight.data = torch.tensor(kernel)[None, None, None]
    return conv


def test_zero_padding_contributes_nothing() -> None:
    conv = _conv([[0.5] * 3] * 3, padding=1)
    acc = _trace(conv, torch.ones(1, 1, 3, 3)).accumulators[0, 0]
    # Taps inside the image: 4 at a corner, 6 at an edge, 9 in the middle. Padding read as -1
    # would give 4 - 5 = -1 at a corner.
    assert acc.tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]


def test_signs_of_a_kernel_by_hand() -> None:
    conv = _conv([[1.0, -2.0], [3.0, -4.0]])
    x = torch.tensor([[[[0.1, 0.2, -0.3], [-0.4, 0.5, -0.6]]]])
    # Signs of x: + + - / - + -; of the kernel: + - / + -.
    # First window:  +1*+1 + +1*-1 + -1*+1 + +1*-1 = 1 - 1 - 1 - 1 = -2
    # Second window: +1*+1 + -1*-1 + +1*+1 + -1*-1 = 4
    assert _trace(conv, x).accumulators.flatten().tolist() == [-2, 4]


def test_zero_and_negative_zero_count_as_plus_one() -> None:
    x = torch.tensor([0.0, -0.0, 1e-30, -1e-30]).view(1, 1, 1, 4)
    trace = _trace(_conv([[1.0]]), x)
    assert trace.bits.flatten().tolist() == [True, True, True, False]
    assert trace.accumulators.flatten().tolist() == [1, 1, 1, -1]


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_zero_weights_count_as_plus_one(zero: float) -> None:
    assert _trace(_conv([[zero]]), torch.ones(1, 1, 1, 1)).accumulators.item() == 1


def test_output_is_accumulator_times_alpha() -> None:
    conv = BinaryConv2d(3, 2, 1)
    conv.weight.data.fill_(1)
    conv.alpha.data = torch.tensor([2.5, -0.5])
    out = pack(conv, (3, 1, 1))(torch.ones(1, 3, 1, 1))
    assert out.flatten().tolist() == [3 * 2.5, 3 * -0.5]


def test_gate_takes_the_largest_logit_and_the_lowest_index_on_ties() -> None:
    conv = BinaryConv2d(2, 3, 1, experts=3)
    assert conv.gate is not None
    conv.gate.linear.weight.data.zero_()
    conv.gate.linear.bias.data = torch.tensor([0.0, 1.0, 1.0])
    assert _trace(conv, torch.randn(2, 2, 1, 1)).expert.tolist() == [1, 1]
    conv.gate.linear.bias.data.zero_()
    conv.gate.linear.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    x = torch.tensor([[3.0, 1.0], [1.0, 3.0], [-1.0, -2.0], [2.0, 2.0]]).view(4, 2, 1, 1)
    assert _trace(conv, x).expert.tolist() == [0, 1, 2, 0]


@st.composite
def _cases(draw: st.DrawFn) -> tuple[BinaryConv2d, Tensor]:
    groups = draw(st.integers(1, 5))
    in_group = draw(st.sampled_from([1, 3, 4, 8, 15, 16, 17, 31, 32, 33, 40, 64, 70]))
    out_group = draw(st.sampled_from([1, 2, 5, 8, 15, 16, 17, 20, 33]))
    kernel = draw(st.sampled_from([1, 2, 3, 3, 5, 7]))
    padding = draw(st.integers(0, kernel))
    smallest = max(1, kernel - 2 * padding)
    height = draw(st.integers(smallest, smallest + 9))
    width = draw(st.integers(smallest, smallest + 19))
    conv = BinaryConv2d(
        groups * in_group,
        groups * out_group,
        kernel,
        stride=draw(st.integers(1, 3)),
        padding=padding,
        groups=groups,
        experts=draw(st.integers(1, 3)),
        se=draw(st.booleans()),
    )
    torch.manual_seed(draw(st.integers(0, 1 << 20)))
    for p in conv.parameters():
        torch.nn.init.normal_(p)
    x = torch.randn(draw(st.integers(1, 3)), groups * in_group, height, width)
    x[torch.rand_like(x) < 0.05] = -0.0
    return conv, x


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_cases())
def test_equals_the_float_convolution_of_signs(case: tuple[BinaryConv2d, Tensor]) -> None:
    conv, x = case
    packed = pack(conv, tuple(x.shape[1:]))
    trace = packed.trace(x)
    layer = trace.layers[""]
    assert torch.equal(layer.bits, x >= 0)
    signs = torch.where(x >= 0, 1.0, -1.0)
    kernels = torch.where(conv.weight >= 0, 1.0, -1.0)
    for i, expert in enumerate(layer.expert.tolist()):
        expected = F.conv2d(
            signs[i : i + 1], kernels[expert], None, conv.stride, conv.padding, 1, conv.groups
        )
        assert torch.equal(layer.accumulators[i : i + 1], expected.int())
    conv.record = True
    with torch.no_grad():
        out = conv(x)
    assert torch.equal(layer.expert, conv.last_expert)
    torch.testing.assert_close(trace.logits, out, rtol=1e-5, atol=1e-5 * float(out.abs().max()))
    assert torch.equal(packed(x), trace.logits)


@pytest.mark.parametrize("channels", [32, 64, 128])  # plain and chained, see prefix.inl
@pytest.mark.parametrize("width", [57, 112, 130])
def test_long_rows(width: int, channels: int) -> None:
    conv = BinaryConv2d(channels, 16, 3, padding=1)
    torch.nn.init.normal_(conv.weight)
    x = torch.randn(1, channels, 3, width)
    signs = torch.where(x >= 0, 1.0, -1.0)
    kernel = torch.where(conv.weight[0] >= 0, 1.0, -1.0)
    assert torch.equal(_trace(conv, x).accumulators, F.conv2d(signs, kernel, padding=1).int())


@pytest.mark.parametrize(
    ("channels", "groups"), [(64, 1), (128, 1), (256, 1), (512, 1), (96, 3), (256, 4)]
)
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1), (1, 2)])
def test_shapes_with_loops_of_their_own(
    channels: int, groups: int, kernel: int, stride: int
) -> None:
    # Words a pixel from 1 to 16, plain and chained; tiles of 14, 7 and less.
    conv = BinaryConv2d(
        channels, 16 * groups, kernel, stride=stride, padding=kernel // 2, groups=groups
    )
    torch.nn.init.normal_(conv.weight)
    kernels = torch.where(conv.weight[0] >= 0, 1.0, -1.0)
    for width in (28, 14, 13):
        x = torch.randn(1, channels, 3, width)
        signs = torch.where(x >= 0, 1.0, -1.0)
        expected = F.conv2d(signs, kernels, None, stride, kernel // 2, 1, groups).int()
        assert torch.equal(_trace(conv, x).accumulators, expected)


def test_samples_of_a_batch_have_their_own_experts() -> None:
    conv = BinaryConv2d(16, 24, 3, padding=1, experts=4)
    assert conv.gate is not None
    torch.nn.init.normal_(conv.gate.linear.weight, 0, 10)
    x = torch.randn(32, 16, 4, 4)
    packed = pack(conv, (16, 4, 4))
    trace = packed.trace(x)
    assert len(trace.layers[""].expert.unique()) >= 3
    alone = torch.cat([packed(image[None]) for image in x])
    assert torch.equal(alone, trace.logits)
