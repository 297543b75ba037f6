"""Linearity and quantization error where they are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d
from ebcore.measure.linearity import LayerLinearity, linearity, quantization_error
from ebcore.models import resnet

GAUSSIAN = 2 / math.pi  # squared correlation of x and sign(x), and what sign(x) keeps of x


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def measure(model: nn.Module, images: Tensor, **options: int) -> LayerLinearity:
    """Half of the images to fit, half to score."""
    half = len(images) // 2
    (layer,) = linearity(model, images[:half].split(16), images[half:].split(16), **options)
    return layer


class Replaced(BinaryConv2d):
    """A convolution whose output is a function of its input's first channel."""

    def __init__(self, function) -> None:  # type: ignore[no-untyped-def]
        super().__init__(1, 1, 1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.function(x)
        return out


def test_a_linear_layer_is_linear() -> None:
    conv = BinaryConv2d(6, 4, 3, stride=2, padding=1, groups=2)
    conv.binary_input = False
    layer = measure(conv, torch.randn(64, 6, 9, 9))
    assert layer.r2 == pytest.approx(1, abs=1e-5)
    assert layer.taps == 3 * 9
    assert layer.positions == 32 * 5 * 5  # all of the 32 images' 25 outputs


def test_the_sign_of_a_gaussian() -> None:
    layer = measure(BinaryConv2d(1, 1, 1), torch.randn(64, 1, 32, 32), positions=1024)
    assert layer.r2 == pytest.approx(GAUSSIAN, abs=0.01)
    assert layer.input_error == pytest.approx(math.sqrt(1 - GAUSSIAN), abs=0.01)


def test_the_sign_of_a_uniform_value() -> None:
    layer = measure(BinaryConv2d(1, 1, 1), torch.rand(64, 1, 32, 32) * 2 - 1, positions=1024)
    # (E|x|)^2 / E x^2 = (1/2)^2 / (1/3)
    assert layer.r2 == pytest.approx(3 / 4, abs=0.01)
    assert layer.input_error == pytest.approx(1 / 2, abs=0.01)


def test_a_convolution_of_independent_gaussian_values() -> None:
    # Taps do not help each other, whatever their weights; padding is 0 for both.
    layer = measure(BinaryConv2d(3, 5, 3, padding=1), torch.randn(128, 3, 12, 12))
    assert layer.r2 == pytest.approx(GAUSSIAN, abs=0.03)


def test_binary_input_is_linear_and_has_no_error() -> None:
    x = torch.where(torch.rand(32, 3, 8, 8) < 0.4, -0.5, 0.5)
    layer = measure(BinaryConv2d(3, 4, 3, padding=1), x)
    assert layer.r2 == pytest.approx(1, abs=1e-5)
    assert layer.input_error == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("function", [torch.randn_like, torch.square])
def test_what_no_linear_map_explains(function) -> None:  # type: ignore[no-untyped-def]
    layer = measure(Replaced(function), torch.randn(64, 1, 16, 16), positions=256)
    assert layer.r2 == pytest.approx(0, abs=0.02)


def test_a_constant_output_has_no_r2() -> None:
    layer = measure(Replaced(lambda x: torch.full_like(x, 0.3)), torch.randn(8, 1, 4, 4))
    assert math.isnan(layer.r2)


def test_it_is_scored_on_other_images() -> None:
    # 20 samples of 27 taps are fitted exactly, and badly.
    conv = BinaryConv2d(3, 4, 3)
    images = torch.randn(20 + 400, 3, 3, 3)
    (layer,) = linearity(conv, [images[:20]], [images[20:]])
    assert layer.positions == 20 and layer.r2 < 0.3
    (enough,) = linearity(conv, images[20:].split(100), [images[:20]])
    assert enough.r2 > layer.r2


def test_batches_and_means_do_not_matter() -> None:
    conv = BinaryConv2d(2, 3, 1)
    images = torch.randn(64, 2, 5, 5) + 100  # far from 0: only the intercept can follow
    conv.binary_input = False
    (whole,) = linearity(conv, [images[:32]], [images[32:]])
    (parts,) = linearity(conv, images[:32].split(5), images[32:].split(7))
    assert whole.r2 == pytest.approx(1, abs=1e-5)
    assert parts.r2 == pytest.approx(whole.r2, abs=1e-9)
    assert parts.input_error == pytest.approx(whole.input_error, rel=1e-9)


def test_quantization_error_by_hand() -> None:
    # rows (3, -1) and (2, 2): scales 2 and 2, left over (1, 1) and (0, 0)
    error = quantization_error(torch.tensor([[3.0, -1.0], [2.0, 2.0]]))
    assert error == pytest.approx(math.sqrt(2 / (9 + 1 + 4 + 4)))
    assert quantization_error(torch.zeros(2, 2)) == 0


def test_weight_error_has_a_scale_per_output_channel() -> None:
    conv = BinaryConv2d(2, 2, 1)
    conv.weight.data = torch.tensor([[3.0, -1.0], [20.0, 20.0]]).view(1, 2, 2, 1, 1)
    layer = measure(conv, torch.randn(8, 2, 4, 4))
    assert layer.weight_error == pytest.approx(math.sqrt(2 / (9 + 1 + 400 + 400)))


def test_every_layer_of_a_network_that_stays_as_it_was() -> None:
    model = resnet(
        "1111-1-2:2:2:2", width=4, stem_width=4, stem="small", experts=2, shortcut="binary"
    )
    model.fc.eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.randn(64, 3, 8, 8)
    layers = linearity(model, [images[:32]], [images[32:]])
    assert len(layers) == 4 * 3 + 3 and layers[0].name == "stages.0.0.0.conv"
    assert all(layer.r2 < 1 and 0 < layer.input_error < 1 for layer in layers)
    assert linearity(model, [images[:32]], [images[32:]]) == layers
    assert model.training and not model.fc.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


def test_bad_images() -> None:
    conv = BinaryConv2d(1, 1, 1)
    image = torch.zeros(1, 1, 2, 2)
    with pytest.raises(InputError, match="images to fit: there are none"):
        linearity(conv, [], [image])
    with pytest.raises(InputError, match="images to score: there are none"):
        linearity(conv, [image], [])
    with pytest.raises(InputError, match="meets NaN"):
        linearity(conv, [image / 0], [image])
    assert not conv._forward_hooks
