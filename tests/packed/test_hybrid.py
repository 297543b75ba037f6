"""Networks of Hybrid Binary Networks in packed form, and layers of real inputs, binary weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d
from ebcore.models import HybridNet
from ebcore.models.architectures import HYBRID
from ebcore.packed import load, pack
from ebcore.packed.agreement import agreement
from ebcore.packed.size import weights
from tests.hybrid_networks import small


def network(name: str, version: str, *, binary_last: bool) -> HybridNet:
    """With random BN statistics, half of its BN scales negative."""
    model = small(name, version, binary_last=binary_last)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias, 0, 0.3)
    nn.init.normal_(model.classifier[0].weight)
    return model.eval()


@pytest.mark.parametrize("name", HYBRID)
@pytest.mark.parametrize("version", ["fprec", "wbin", "fbin", "hybrid"])
def test_a_packed_network_agrees(name: str, version: str, tmp_path: Path) -> None:
    last = version in ("wbin", "hybrid")
    model = network(name, version, binary_last=last)
    packed = pack(model, (3, 32, 32))
    packed.save(tmp_path / "x.ebp")
    packed = load(tmp_path / "x.ebp")
    images = torch.randn(8, 3, 32, 32)
    report = agreement(model, packed, images)
    assert report.ok, report.violations
    assert packed(images).shape == (8, 5)
    numbered = model.numbered
    binary = [n for n in numbered.values() if model.get_submodule(n).binary_input]
    shortcuts = 3 * (name == "hybrid-resnet-18" and version == "fbin")
    assert len(packed.binary_layers) == len(binary) + shortcuts
    kinds = [node.op for node in packed.graph.nodes]
    if version == "fprec":
        assert "weight_binary_conv" not in kinds
    if version == "wbin":
        more = 3 * (name == "hybrid-resnet-18") + 1  # shortcuts, last layer
        assert kinds.count("weight_binary_conv") == len(numbered) + more
        assert kinds.count("conv") == 1
    assert packed.metadata["spec"] == name


def test_a_weight_takes_a_bit_in_the_file() -> None:
    model = network("alexnet", "wbin", binary_last=True)
    packed = pack(model, (3, 32, 32))
    kernels = sum(conv.weight.numel() for conv in model.modules() if isinstance(conv, BinaryConv2d))
    assert weights(packed.graph).binary == kernels


_SETTINGS = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_SETTINGS
@given(
    st.sampled_from([1, 2, 3, 5]),
    st.integers(1, 3),
    st.integers(0, 2),
    st.sampled_from([(1, 3, 7), (1, 3, 32), (1, 20, 33), (2, 4, 34), (3, 6, 3), (1, 17, 150)]),
    st.integers(5, 9),
    st.booleans(),
    st.sampled_from(["learned", "mean", "xnor", "none"]),
)
def test_any_shape_is_computed_as_in_pytorch(
    forced_isa: str,
    kernel: int,
    stride: int,
    padding: int,
    channels: tuple[int, int, int],
    size: int,
    bias: bool,
    scale: str,
) -> None:
    groups, i, o = channels
    o += -o % groups
    conv = BinaryConv2d(
        i, o, kernel, stride=stride, padding=padding, groups=groups, scale=scale, bias=bias
    )
    _check(conv, i, size, size + 2)


@_SETTINGS
@given(st.integers(1, 6), st.integers(2, 70), st.integers(1, 200), st.booleans())
def test_a_fully_connected_layer_keeps_its_bits(
    forced_isa: str, size: int, inputs: int, outputs: int, prelu: bool
) -> None:
    act = nn.PReLU(outputs) if prelu and outputs > 1 else nn.ReLU()
    norm = nn.BatchNorm2d(outputs)
    nn.init.normal_(norm.weight), nn.init.normal_(norm.running_mean)
    conv = BinaryConv2d(inputs, outputs, size, scale="xnor")
    layers = nn.Sequential(conv, norm, act)
    packed = _check(layers, inputs, size, size)
    assert [node.op for node in packed.graph.nodes] == ["weight_binary_conv"]


def _check(module: nn.Module, *shape: int):  # type: ignore[no-untyped-def]
    convs = [m for m in module.modules() if isinstance(m, BinaryConv2d)]
    for conv in convs:
        conv.binary_input = False
        nn.init.normal_(conv.weight)
        if conv.alpha is not None:
            nn.init.normal_(conv.alpha)
        if conv.bias is not None:
            nn.init.normal_(conv.bias)
    module.eval()
    x = torch.randn(2, *shape)
    with torch.no_grad():
        expected = module(x)
    packed = pack(module, shape)  # type: ignore[arg-type]
    out = packed(x)
    limit = 2e-6 * max(1e-3, float(expected.abs().max()))
    torch.testing.assert_close(out.view_as(expected), expected, rtol=1e-5, atol=limit)
    packed.threads = 3
    assert torch.equal(packed(x[:1]), out[:1])
    return packed


def test_a_fully_connected_layer_by_hand(forced_isa: str) -> None:
    conv = BinaryConv2d(2, 3, 2, scale="mean")
    signs = torch.tensor([[1, 1, 1, 1, -1, -1, -1, -1], [1] * 8, [-1, 1] * 4], dtype=torch.float32)
    conv.weight.data = (signs * torch.tensor([[0.5], [2.0], [1.0]])).view(1, 3, 2, 2, 2)
    conv.binary_input = False
    x = torch.arange(8.0).view(1, 2, 2, 2)
    # 0.5 (0 + 1 + 2 + 3 - 4 - 5 - 6 - 7), 2 x 28, -0 + 1 - 2 + 3 - 4 + 5 - 6 + 7
    assert pack(conv, (2, 2, 2))(x).flatten().tolist() == [-8, 56, 4]


def test_a_long_sum_keeps_its_digits(forced_isa: str) -> None:
    torch.manual_seed(3)
    conv = BinaryConv2d(256, 40, 6, scale="xnor").eval()
    conv.binary_input = False
    x = torch.rand(2, 256, 6, 6) * 4  # all positive: partial sums of thousands
    scale = conv.output_scale().detach().double()  # type: ignore[union-attr]
    exact = F.conv2d(x.double(), conv.signs()[0].double()) * scale.view(-1, 1, 1)
    out = pack(conv, (256, 6, 6))(x).double()
    assert float((out - exact).abs().max() / exact.abs().max()) < 2e-6


def test_experts_need_binary_inputs() -> None:
    conv = BinaryConv2d(4, 4, 1, experts=2)
    conv.binary_input = False
    with pytest.raises(InputError, match="has real inputs"):
        pack(conv, (4, 2, 2))
