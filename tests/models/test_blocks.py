"""Blocks of every layout, against the papers' formulas written out."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ebcore.layers import BinaryConv2d
from ebcore.models import resnet
from ebcore.models.blocks import Block

Act = Callable[[Tensor], Tensor]


def randomised_block(name: str, channels: int, stride: int) -> tuple[Block, int]:
    """A block with random norms, slopes and scales, in eval mode, and its input channels."""
    model = resnet(name, width=channels, stem_width=channels, num_classes=2)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            assert m.running_mean is not None and m.running_var is not None
            m.running_mean.normal_(0, 0.3)
            m.running_var.uniform_(0.5, 2)
            nn.init.normal_(m.weight)
            nn.init.normal_(m.bias)
        elif isinstance(m, nn.PReLU):
            nn.init.uniform_(m.weight, -0.5, 0.5)
        elif isinstance(m, BinaryConv2d) and m.alpha is not None:
            nn.init.normal_(m.alpha)
    block = model.eval().stages[0 if stride == 1 else 1][0]
    assert isinstance(block, Block)
    return block, channels


def parts(block: Block, kind: type[nn.Module]) -> list[nn.Module]:
    """Modules of a class, those of the shortcut left out."""
    return [m for n, m in block.named_modules() if type(m) is kind and ".shortcut" not in f".{n}"]


def shortcut(block: Block) -> nn.Module:
    return block[0].shortcut  # type: ignore[return-value]


def plus_minus(v: Tensor) -> Tensor:
    return torch.where(v >= 0, 1.0, -1.0)


def conv(x: Tensor, module: nn.Module, stride: int = 1) -> Tensor:
    weight = module.weight[0]  # type: ignore[union-attr, index]
    return F.conv2d(plus_minus(x), plus_minus(weight), stride=stride, padding=1)


def mean_size(module: nn.Module) -> Tensor:
    return module.weight[0].abs().mean((1, 2, 3)).view(-1, 1, 1)  # type: ignore[union-attr, index]


def bnn(b: Block, x: Tensor, stride: int) -> Tensor:
    """Convolution, norm, hardtanh; the skip is added before the last norm."""
    c, n = parts(b, BinaryConv2d), parts(b, nn.BatchNorm2d)
    y = n[0](conv(x, c[0], stride)).clip(-1, 1)
    return n[1](conv(y, c[1]) + shortcut(b)(x)).clip(-1, 1)


def xnor(b: Block, x: Tensor, stride: int) -> Tensor:
    """Norm, sign, convolution times mean |W|, ReLU; one skip; ReLU."""
    c, n = parts(b, BinaryConv2d), parts(b, nn.BatchNorm2d)
    y = (conv(n[0](x), c[0], stride) * mean_size(c[0])).clip(min=0)
    y = conv(n[1](y), c[1]) * mean_size(c[1])
    return (y + shortcut(b)(x)).clip(min=0)


def bi_real(b: Block, x: Tensor, stride: int) -> Tensor:
    """Sign, convolution times mean |W|, norm; a skip for each."""
    c, n = parts(b, BinaryConv2d), parts(b, nn.BatchNorm2d)
    y = n[0](conv(x, c[0], stride) * mean_size(c[0])) + shortcut(b)(x)
    return n[1](conv(y, c[1]) * mean_size(c[1])) + y


def strong_baseline(b: Block, x: Tensor, stride: int) -> Tensor:
    """Norm, sign, convolution times alpha, PReLU; a skip for each."""
    c, n, a = parts(b, BinaryConv2d), parts(b, nn.BatchNorm2d), parts(b, nn.PReLU)
    y = a[0](conv(n[0](x), c[0], stride) * c[0].alpha.view(-1, 1, 1)) + shortcut(b)(x)  # type: ignore
    return a[1](conv(n[1](y), c[1]) * c[1].alpha.view(-1, 1, 1)) + y  # type: ignore


@settings(max_examples=6, deadline=None)
@given(channels=st.integers(3, 9), stride=st.sampled_from([1, 2]), size=st.integers(5, 9))
@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("bnn-18", bnn),
        ("xnor-18", xnor),
        ("double-skip-18", bi_real),
        ("bi-real-18", bi_real),
        ("strong-baseline-18", strong_baseline),
    ],
)
def test_a_block_computes_its_formula(
    name: str,
    formula: Callable[[Block, Tensor, int], Tensor],
    channels: int,
    stride: int,
    size: int,
) -> None:
    torch.manual_seed(channels)
    block, channels = randomised_block(name, channels, stride)
    x = torch.randn(2, channels, size, size)
    with torch.no_grad():
        torch.testing.assert_close(block(x), formula(block, x, stride))


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("bnn-18", ["AvgPool2d", "BinaryConv2d", "BatchNorm2d"]),
        ("xnor-18", ["AvgPool2d", "BatchNorm2d", "BinaryConv2d"]),
        ("double-skip-18", ["AvgPool2d", "BinaryConv2d", "BatchNorm2d"]),
        ("bi-real-18", ["AvgPool2d", "Conv2d", "BatchNorm2d"]),
        ("strong-baseline-18", ["AvgPool2d", "Conv2d", "BatchNorm2d"]),
        ("real-to-binary-18", ["AvgPool2d", "Conv2d", "BatchNorm2d"]),
    ],
)
def test_shortcuts(name: str, order: list[str]) -> None:
    block, _ = randomised_block(name, 4, 2)
    assert [type(m).__name__ for m in shortcut(block)] == order  # type: ignore[attr-defined]
    # its scale is that of the blocks: learned, from the weights, or none
    scales = {m.scale for m in block.modules() if isinstance(m, BinaryConv2d)}
    assert len(scales) == 1


def test_a_pointwise_convolution_joins_a_long_skip() -> None:
    block = resnet("bnn-18", width=4, stem_width=4, pointwise=True).stages[0][0]
    kernels = [m.kernel_size for m in block.modules() if isinstance(m, BinaryConv2d)]
    assert kernels == [3, 3, 1]
    assert block(torch.randn(1, 4, 6, 6)).shape == (1, 4, 6, 6)
