"""BinaryConv2d: values one can check by hand, and its place in a network."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ebcore.binarize import hard_sign
from ebcore.layers import BinaryConv2d


def test_zero_padding_contributes_nothing() -> None:
    conv = BinaryConv2d(1, 1, 3, padding=1)
    with torch.no_grad():
        conv.weight.fill_(0.3)  # sign +1
    out = conv(torch.full((1, 1, 3, 3), 0.7))
    # Every tap inside the image is (+1)(+1); corners see 4 taps, edges 6, the middle 9.
    assert out[0, 0].tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]


def test_sign_of_zero_counts_as_plus_one_in_inputs_and_weights() -> None:
    conv = BinaryConv2d(2, 1, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([0.0, -0.0]).view(1, 1, 2, 1, 1))
    assert conv(torch.zeros(1, 2, 1, 1)).item() == 2
    assert conv(torch.tensor([-0.0, -3.0]).view(1, 2, 1, 1)).item() == 0


def test_alpha_scales_each_output_channel() -> None:
    conv = BinaryConv2d(1, 2, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, -1.0]).view(1, 2, 1, 1, 1))
        conv.alpha.copy_(torch.tensor([0.5, 2.0]))
    assert conv(torch.tensor([[[[0.1]]]])).flatten().tolist() == [0.5, -2.0]


def test_a_scale_from_the_weights_is_their_mean_size() -> None:
    conv = BinaryConv2d(2, 2, 1, scale="mean")
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[1.0, -3.0], [0.5, 0.0]]).view(1, 2, 2, 1, 1))
    x = torch.tensor([2.0, -0.1]).view(1, 2, 1, 1)  # signs +1, -1
    # (1 + 1) x (1 + 3) / 2 and (1 - 1) x (0.5 + 0) / 2
    assert conv(x).flatten().tolist() == [4, 0]
    conv.binary_weight = False  # real weights have their size themselves
    assert conv(x).flatten().tolist() == [4, 0.5]
    conv.binary_weight = True
    conv(x).sum().backward()
    assert conv.weight.grad is not None
    # per weight: its input's sign inside (-1, 1) x the scale, and sum / 2 x the weight's sign
    expected = [[0 + 1, 0 - 1], [0.25 + 0, -0.25 + 0]]
    assert conv.weight.grad.view(2, 2).tolist() == expected


def test_xnor_scale_with_a_bias_by_hand() -> None:
    conv = BinaryConv2d(2, 1, 1, scale="xnor", bias=True)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([0.9, 0.4]).view(1, 1, 2, 1, 1))
        conv.bias.fill_(3.0)
    x = torch.tensor([2.0, -0.1]).view(1, 2, 1, 1)  # signs +1, -1
    # centred weights 0.25, -0.25: alpha = 0.25, signs +1, -1
    conv.eval()
    assert conv(x).item() == pytest.approx(0.25 * (1 + 1) + 3)
    assert conv.weight.flatten().tolist() == pytest.approx([0.9, 0.4])  # evaluation changes nothing
    assert conv.signs().flatten().tolist() == [1, -1]
    assert conv.output_scale().tolist() == pytest.approx([0.25])
    conv.binary_input = False
    assert conv(x).item() == pytest.approx(0.25 * (2 + 0.1) + 3)
    conv.binary_weight = False
    assert conv(x).item() == pytest.approx(0.9 * 2 - 0.4 * 0.1 + 3)
    assert conv.output_scale() is None


def test_training_keeps_the_centred_weights_of_the_xnor_scale() -> None:
    conv = BinaryConv2d(2, 1, 1, scale="xnor")
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([0.9, 0.4]).view(1, 1, 2, 1, 1))
    conv(torch.ones(1, 2, 1, 1)).backward()
    assert conv.weight.flatten().tolist() == pytest.approx([0.25, -0.25])
    assert conv.weight.grad is not None
    # n (1 - 1/I) (alpha + 1/n) = 2 x 1/2 x (0.25 + 0.5)
    assert conv.weight.grad.flatten().tolist() == pytest.approx([0.75, 0.75])


def test_an_xnor_scale_needs_channels_to_centre() -> None:
    with pytest.raises(ValueError, match="one input channel a group"):
        BinaryConv2d(4, 4, 3, groups=4, scale="xnor")


def test_no_scale() -> None:
    conv = BinaryConv2d(2, 1, 1, scale="none")
    assert [name for name, _ in conv.named_parameters()] == ["weight"]
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([0.2, -0.3]).view(1, 1, 2, 1, 1))
    assert conv(torch.tensor([2.0, -0.1]).view(1, 2, 1, 1)).item() == 2


@pytest.mark.parametrize(("scale", "experts"), [("mean", 2), ("median", 1)])
def test_an_impossible_scale_is_refused(scale: str, experts: int) -> None:
    with pytest.raises(ValueError, match=f"scale '{scale}' with {experts} experts"):
        BinaryConv2d(2, 2, 1, scale=scale, experts=experts)


def test_each_sample_gets_the_expert_its_pooled_real_input_chooses() -> None:
    conv = BinaryConv2d(1, 1, 1, experts=2)
    assert conv.gate is not None
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1, 1))
        conv.gate.linear.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        conv.gate.linear.bias.zero_()
    conv.record = True
    # Mean 0.5 chooses expert 0; mean -0.5, with a positive pixel among them, expert 1.
    x = torch.tensor([[0.2, 0.8], [0.5, -1.5]]).view(2, 1, 1, 2)
    assert conv(x).view(2, 2).tolist() == [[1, 1], [-1, 1]]
    assert conv.last_expert is not None
    assert conv.last_expert.tolist() == [0, 1]


def test_state_switches_what_is_binary() -> None:
    conv = BinaryConv2d(1, 1, 1)
    with torch.no_grad():
        conv.weight.fill_(-0.25)
    x = torch.tensor([[[[0.5]]]])
    results = {}
    for inputs in (False, True):
        for weights in (False, True):
            conv.binary_input, conv.binary_weight = inputs, weights
            results[inputs, weights] = conv(x).item()
    assert results == {
        (False, False): -0.125,
        (False, True): -0.5,
        (True, False): -0.25,
        (True, True): -1.0,
    }


def test_se_multiplies_by_a_factor_from_the_pooled_input() -> None:
    conv = BinaryConv2d(2, 2, 1, se=True, se_ratio=2)
    assert conv.se is not None
    with torch.no_grad():
        conv.weight.fill_(1.0)
        conv.se.reduce.weight.copy_(torch.tensor([[1.0, 1.0]]))
        conv.se.expand.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    out = conv(torch.tensor([1.0, 2.0]).view(1, 2, 1, 1))
    factors = torch.sigmoid(torch.tensor([3.0, -3.0]))
    torch.testing.assert_close(out.flatten(), 2 * factors)


@settings(max_examples=30, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 4]),
    ins=st.integers(1, 5),
    outs=st.integers(1, 5),
    kernel=st.sampled_from([1, 3]),
    stride=st.integers(1, 2),
    experts=st.integers(1, 3),
)
def test_shapes_and_values_equal_a_convolution_of_signs(
    groups: int, ins: int, outs: int, kernel: int, stride: int, experts: int
) -> None:
    torch.manual_seed(0)
    padding = kernel // 2
    conv = BinaryConv2d(
        ins * groups,
        outs * groups,
        kernel,
        stride=stride,
        padding=padding,
        groups=groups,
        experts=experts,
    )
    conv.record = True
    x = torch.randn(3, ins * groups, 7, 6)
    out = conv(x)
    assert conv.last_expert is not None
    for i, k in enumerate(conv.last_expert.tolist()):
        expected = F.conv2d(
            hard_sign(x[i : i + 1]), hard_sign(conv.weight[k]), None, stride, padding, 1, groups
        )
        assert torch.equal(out[i : i + 1], expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_keeps_the_convolutions_exact(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    conv = BinaryConv2d(8, 4, 3, padding=1, experts=2)
    x = torch.randn(4, 8, 5, 5)
    with torch.autocast("cpu", dtype):
        half = conv(x)
    # Sums of at most 72 signs are exact in half precision.
    assert torch.equal(half.float(), conv(x))


def test_half_precision_takes_the_sign_of_the_full_weights() -> None:
    conv = BinaryConv2d(1, 1, 1, experts=2)
    with torch.no_grad():
        conv.weight.fill_(-1e-9)  # -0.0 in float16
    with torch.autocast("cpu", torch.float16):
        assert conv(torch.ones(1, 1, 1, 1)).item() == -1


def test_it_compiles_without_graph_breaks() -> None:
    torch.manual_seed(0)
    conv = BinaryConv2d(4, 4, 3, padding=1, experts=2)
    x = torch.randn(3, 4, 5, 5)
    compiled = torch.compile(conv, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), conv(x))


@pytest.mark.parametrize(
    "options", [{"in_channels": 3, "groups": 2}, {"in_channels": 4, "experts": 0}]
)
def test_impossible_shapes_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"groups|experts"):
        BinaryConv2d(**{"out_channels": 4, "kernel_size": 3, **options})  # type: ignore[arg-type]
