"""Real-valued nodes that run together, strip by strip, against PyTorch's layer by layer.

The images are wide enough for several strips: a stem's windows may take 256 KiB.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ebcore.errors import InputError
from ebcore.models.stems import BasicStem, EfficientStem
from ebcore.packed import PackedModel, pack
from ebcore.packed.graph import Graph, Node
from ebcore.packed.ops import NONE

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


def test_a_reader_that_goes_on_while_another_is_in_its_border() -> None:
    """The rows of the input that the second branch has passed are needed again by the first."""
    graph = Graph((3, 40, 224))
    weights = [torch.randn(32, 3, 9, 9), torch.randn(32, 32, 1, 1), torch.randn(32, 3, 1, 1)]
    for i, (source, padding) in enumerate([(0, 0), (1, 4), (0, 0)]):
        kernel = weights[i].shape[-1]
        attrs = {"kernel": kernel, "stride": 1, "padding": padding, "groups": 1, "act": NONE}
        graph.tensors[f"{i}"] = weights[i].numpy()
        graph.nodes.append(Node("conv", f"{i}", [source], attrs, {"weight": f"{i}"}))
    graph.nodes.append(Node("add", "sum", [2, 3], {}, {}))
    x = torch.randn(1, 3, 40, 224)
    long = F.conv2d(F.conv2d(x, weights[0]), weights[1], padding=4)
    expected = long + F.conv2d(x, weights[2])
    for threads in (1, 3):
        packed = PackedModel(graph)
        packed.threads = threads
        torch.testing.assert_close(packed(x), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("row", [1, 7])
def test_nan_in_a_row_that_no_window_reads(row: int, threads: int) -> None:
    packed = pack(nn.Conv2d(3, 4, 1, 2), (3, 8, 8))
    packed.threads = threads
    x = torch.zeros(1, 3, 8, 8)
    x[0, 0, row, 0] = torch.nan
    with pytest.raises(InputError, match="input holds NaN"):
        packed(x)


def test_relu_keeps_nan() -> None:
    """Infinities are no error, and what they make is not hidden: inf - inf."""
    conv = nn.Conv2d(2, 20, 1, bias=False)
    nn.init.constant_(conv.weight, 1.0)
    packed = pack(nn.Sequential(conv, nn.ReLU()), (2, 1, 16))
    x = torch.zeros(1, 2, 1, 16)
    x[0, 0, 0, 3], x[0, 1, 0, 3] = torch.inf, -torch.inf
    out = packed(x)
    assert out[..., 3].isnan().all()
    assert (out[..., :3] == 0).all() and (out[..., 4:] == 0).all()
