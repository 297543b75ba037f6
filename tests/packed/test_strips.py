"""Real-valued nodes that run together, strip by strip, against PyTorch's layer by layer.

The images are wide enough for several strips: a stem's windows may take 256 KiB.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ebcore.errors import InputError
from ebcore.models.stems import BasicStem, EfficientStem
from ebcore.packed import pack

pytestmark = pytest.mark.usefixtures("forced_isa")


def _check(module: nn.Module, *shape: int) -> None:
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.bias)
    module.eval()
    x = torch.randn(2, *shape)
    with torch.no_grad():
        expected = module(x)
    packed = pack(module, shape)  # type: ignore[arg-type]
    out = packed(x)
    limit = 1e-6 * float(expected.abs().max())
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=limit)
    packed.threads = 3  # a batch of two: the threads share an image
    assert torch.equal(packed(x), out)


@pytest.mark.parametrize("channels", [1, 3])
def test_stems(channels: int) -> None:
    _check(EfficientStem(channels, 64, "relu"), channels, 52, 260)
    _check(BasicStem(channels, 64, "none"), channels, 41, 250)


def test_a_shortcut_chain() -> None:
    shortcut = nn.Sequential(
        nn.AvgPool2d(2), nn.Conv2d(48, 16, 1), nn.PReLU(16), nn.Conv2d(16, 72, 1)
    )
    _check(shortcut, 48, 37, 130)


def test_paddings_and_strides_in_a_row() -> None:
    chain = nn.Sequential(
        nn.MaxPool2d(3, 1, 1),  # the input has another reader than convolutions
        nn.Conv2d(5, 24, 5, 1, 4),
        nn.Conv2d(24, 40, 1, 2),  # skips every other row
        nn.Conv2d(40, 20, 3, 1, 1, groups=4),
        nn.Conv2d(20, 33, 2, 3),
    )
    _check(chain, 5, 44, 200)


def test_grouped_convolution_of_the_input() -> None:
    _check(nn.Sequential(nn.Conv2d(6, 33, 3, 1, 1, groups=3), nn.MaxPool2d(2)), 6, 30, 220)


def test_nan_in_any_row_of_the_input_is_refused() -> None:
    packed = pack(BasicStem(3, 16, "relu").eval(), (3, 40, 300))
    for threads in (1, 2):
        packed.threads = threads
        for row in (0, 17, 39):
            x = torch.zeros(1, 3, 40, 300)
            x[0, 1, row, 299] = float("nan")
            with pytest.raises(InputError, match="input holds NaN"):
                packed(x)
    assert packed(torch.zeros(1, 3, 40, 300)).shape == (1, 16, 10, 75)
