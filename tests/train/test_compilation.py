"""torch.compile and bfloat16 in training."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d
from ebcore.models import resnet, set_binarization
from ebcore.train.compilation import compiled
from ebcore.train.gates import GateTally
from ebcore.train.job import make_job
from ebcore.train.launch import run_training
from ebcore.train.precision import mixed_precision
from tests.train.test_training import FIRST, wait_for_state
from tests.train.workers import assert_all_leave

if TYPE_CHECKING:
    from tests.train.conftest import Place

CPU = torch.device("cpu")


def test_unasked_a_module_stays_what_it_is() -> None:
    module = nn.Linear(2, 2)
    assert compiled(module, False, CPU) is module


def test_a_machine_without_a_compiler_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler.*set compile: false"):
        compiled(nn.Linear(2, 2), True, CPU)


@pytest.mark.parametrize(("avx512", "amx"), [(False, False), (True, False), (False, True)])
def test_auto_takes_bfloat16_where_the_cpu_computes_with_it(
    monkeypatch: pytest.MonkeyPatch, avx512: bool, amx: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    autocast, scaler = mixed_precision("auto", CPU)
    with autocast:
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert (product.dtype == torch.bfloat16) == (avx512 or amx)
    assert not scaler.is_enabled()


def test_experts_under_autocast_give_the_same_up_to_rounding() -> None:
    torch.manual_seed(0)
    conv = BinaryConv2d(16, 32, 3, padding=1, experts=3)
    conv.record = True
    x = torch.randn(8, 16, 6, 6)
    with torch.no_grad():
        expected, chosen = conv(x), conv.last_expert
        with torch.autocast("cpu", torch.bfloat16):
            out = conv(x.bfloat16())  # no sign changes: bfloat16 has float32's exponents
        again = conv.last_expert
    assert chosen is not None and again is not None
    same = chosen == again  # the gate's mean is rounded
    assert same.sum() >= 4
    torch.testing.assert_close(out[same].float(), expected[same], rtol=2**-8, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("experts", [1, 3])
def test_compiled_gradients_are_the_plain_ones(experts: int) -> None:
    torch.manual_seed(0)
    options = {"width": 8, "stem": "half", "stem_width": 8, "num_classes": 3}
    model = resnet("1111-2-4:4:4:4", experts=experts, **options)  # type: ignore[arg-type]
    set_binarization(model, inputs=True, weights=True)
    tally = GateTally(model, training=True)
    images, labels = torch.randn(6, 3, 32, 32), torch.tensor([0, 1, 2, 0, 1, 2])
    found = []
    for module in (model, compiled(model, True, CPU)):
        model.zero_grad()
        F.cross_entropy(module(images), labels).backward()
        found.append(([p.grad.clone() for p in model.parameters()], tally.take()))  # type: ignore[union-attr]
        tally.put([])
    (plain, counts), (fused, fused_counts) = found
    assert counts == pytest.approx(fused_counts)
    for ours, theirs in zip(fused, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_compiled_run_ends_in_the_same_bytes(place: Place) -> None:
    train = {**place.content["train_one"], "epochs": 40}
    params = place.params(compile=True, amp="bf16", checkpoint_seconds=0.05, train_one=train)
    run_training("train_one", 1, params, on_line=lambda line: None)
    expected = FIRST.read_bytes()
    FIRST.unlink()
    folder = make_job("train_one", 1, params).folder
    (folder / "final.safetensors").unlink()
    process = place.start("train_one")
    wait_for_state(place, folder, seconds=300)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert_all_leave(folder, seconds=20)
    assert not FIRST.exists()
    lines: list[str] = []
    run_training("train_one", 1, params, on_line=lines.append)
    assert any("goes on from epoch" in line for line in lines), os.linesep.join(lines)
    assert FIRST.read_bytes() == expected
