"""Real layers in bf16 against fp32 convolutions of the same rounded values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ebcore.errors import InputError
from ebcore.models import EBResNet
from ebcore.packed import PackedModel, load, pack
from ebcore.packed.native import NativeError, NativeModel


def _able() -> bool:
    try:
        PackedModel(pack(nn.Conv2d(1, 1, 1), (1, 1, 1)).graph, real="bf16")
    except InputError:
        return False
    return True


needs_bf16 = pytest.mark.skipif(not _able(), reason="this CPU has no AVX512_BF16")


def _rounded(x: Tensor) -> Tensor:
    return x.bfloat16().float()


@needs_bf16
@pytest.mark.parametrize("tiles", [True, False])
@pytest.mark.parametrize("act", [nn.Identity(), nn.ReLU()])
@pytest.mark.parametrize(
    ("shape", "out", "kernel", "stride", "padding", "groups"),
    [
        ((3, 21, 70), 64, 7, 2, 3, 1),  # a stem: a run of 21 values, overlapping tiles
        ((3, 12, 9), 20, 3, 2, 1, 1),  # fewer pixels than a tile has, channels than lanes
        ((64, 7, 7), 48, 1, 1, 0, 1),  # one long row; an odd number of blocks
        ((40, 9, 33), 32, 1, 2, 0, 1),  # a run that is no multiple of 32
        ((36, 8, 40), 66, 3, 1, 1, 2),
        ((6, 10, 37), 33, 3, 1, 2, 3),  # groups of the network's input
    ],
)
def test_convolution(
    shape: tuple[int, int, int],
    out: int,
    kernel: int,
    stride: int,
    padding: int,
    groups: int,
    act: nn.Module,
    tiles: bool,
) -> None:
    conv = nn.Conv2d(shape[0], out, kernel, stride, padding, groups=groups)
    packed = pack(nn.Sequential(conv, act).eval(), shape)
    packed._native.use_bf16(tiles=tiles)
    x = torch.randn(2, *shape)
    conv.weight.data = _rounded(conv.weight.data)
    with torch.no_grad():
        expected = act(conv(_rounded(x)))
    torch.testing.assert_close(packed(x), expected, rtol=1e-5, atol=1e-5)


@needs_bf16
def test_a_pixel_does_not_see_the_last_image() -> None:
    packed = PackedModel(pack(nn.Conv2d(5, 8, 1).eval(), (5, 2, 3)).graph, real="bf16")
    x = torch.randn(1, 5, 2, 3)
    before = packed(x)
    packed(torch.full((1, 5, 2, 3), float("inf")))
    assert torch.equal(packed(x), before)


@needs_bf16
def test_a_network_and_its_threads(network: Callable[..., EBResNet], tmp_path: Path) -> None:
    packed = pack(network(stem="efficient"), (3, 64, 64))
    packed.save(tmp_path / "net.ebp")
    rounded = load(tmp_path / "net.ebp", real="bf16")
    x = torch.randn(1, 3, 64, 64)
    out = rounded(x)
    assert not torch.equal(out, packed(x))
    rounded.threads = 3
    assert torch.equal(rounded(x), out)


def test_another_number_format_is_refused() -> None:
    graph = pack(nn.Conv2d(1, 1, 1), (1, 1, 1)).graph
    with pytest.raises(InputError, match="fp16"):
        PackedModel(graph, real="fp16")


def test_a_cpu_without_the_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(self: NativeModel, *, tiles: bool = True) -> None:
        raise NativeError(-1, "needs a CPU with AVX512_BF16")

    monkeypatch.setattr(NativeModel, "use_bf16", lacks)
    graph = pack(nn.Conv2d(1, 1, 1), (1, 1, 1)).graph
    with pytest.raises(InputError, match="AVX512_BF16"):
        PackedModel(graph, real="bf16")
