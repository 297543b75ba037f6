"""The fp32 and int8 networks a packed one is compared with."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ebcore.layers import BinaryConv2d
from ebcore.measure.int8 import NoInt8, quantize_network, quantized_conv
from ebcore.measure.twin import real_conv, real_twin
from ebcore.models import resnet
from tests.hybrid_networks import small

CONFIG = {
    "spec": "1111-2-2:2:2:2",
    "experts": 4,
    "num_classes": 5,
    "stem": "small",
    "width": 8,
    "stem_width": 8,
}


def test_twin_has_the_shapes_and_no_binary_layer() -> None:
    binary, real = resnet(**CONFIG), real_twin(CONFIG)
    assert not any(isinstance(m, BinaryConv2d) for m in real.modules())
    for name, layer in binary.named_modules():
        if isinstance(layer, BinaryConv2d):
            conv = real.get_submodule(name)
            assert isinstance(conv, nn.Conv2d)
            assert conv.weight.shape == layer.weight.shape[1:]
            assert (conv.groups, conv.stride, conv.padding) == (
                layer.groups,
                (layer.stride, layer.stride),
                (layer.padding, layer.padding),
            )
    assert real(torch.randn(2, 3, 8, 8)).shape == (2, 5)


def test_the_twin_of_a_hybrid_network_is_its_full_precision() -> None:
    config = small("sketchanet", "hybrid", binary_last=True).config
    real = real_twin(config)
    assert not any(isinstance(m, BinaryConv2d) for m in real.modules())
    kinds = [type(m).__name__ for m in real.get_submodule("body.layer2").children()]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"]
    last = real.get_submodule("classifier.0")
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    assert real(torch.randn(2, 3, 32, 32)).shape == (2, 5)


def test_twin_leaves_the_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    real_twin(CONFIG)
    assert torch.equal(before, torch.random.get_rng_state())


def test_int8_convolution_is_the_convolution_within_its_steps() -> None:
    """Against the fp32 result: 8 bits of 36 taps err by less than 5 % of the range."""
    torch.manual_seed(0)
    conv = real_conv(BinaryConv2d(8, 16, 3, stride=2, padding=1, groups=2))
    x = torch.randn(1, 8, 9, 9)
    try:
        out = quantized_conv(conv, x)().dequantize()
    except NoInt8 as error:
        pytest.skip(str(error))
    expected = conv(x)
    assert (out - expected).abs().max() < 0.05 * expected.abs().max()


def test_int8_network_classifies_like_the_real_one() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4)).eval()
    x = torch.randn(16, 3, 8, 8)
    try:
        quantized = quantize_network(model, x)
    except NoInt8 as error:
        pytest.skip(str(error))
    expected = model(x)
    assert (quantized(x) - expected).abs().max() < 0.05 * expected.abs().max()
    assert isinstance(model[0], nn.Conv2d), "the network itself stays as it is"


def test_what_torch_cannot_quantize_is_reported() -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(NoInt8):
        quantize_network(Branching(), torch.randn(1, 3, 4, 4))
