"""Attention and logit matching, and averaged weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from ebcore import load_model
from ebcore.errors import InputError
from ebcore.methods.ebconv import replicate_stage
from ebcore.models import resnet
from ebcore.models.binarization import binary_convs
from ebcore.models.checkpoint import save_model
from ebcore.params import DistillParams
from ebcore.train.distill import Distillation, attention_loss, logit_loss
from ebcore.train.job import make_job
from ebcore.train.launch import run_training
from ebcore.workspace import checkpoint_file

if TYPE_CHECKING:
    from tests.train.conftest import Place

BOTH = {"attention": 10.0, "points": [1, 2, 3], "logits": 1.0}


def test_attention_by_hand() -> None:
    # Means over channels of the squares: (9, 16) and (0, 5), lengths sqrt(337) and 5.
    student = torch.tensor([[[[3.0, 4.0]]]])
    teacher = torch.tensor([[[[0.0, 1.0]], [[0.0, 3.0]]]])
    ours = (9 / 337**0.5, 16 / 337**0.5)
    expected = (ours[0] ** 2 + (ours[1] - 1) ** 2) / 2
    torch.testing.assert_close(attention_loss(student, teacher).item(), expected)


def test_attention_forgets_the_scale_and_its_channels() -> None:
    output = torch.randn(3, 8, 5, 5)
    assert attention_loss(7 * output, output.repeat(1, 2, 1, 1)).item() < 1e-12


def test_logits_by_hand() -> None:
    # Teacher (3/4, 1/4), student (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2).
    teacher = torch.tensor([[3.0, 1.0]]).log().repeat(2, 1)
    expected = 0.75 * torch.tensor(1.5).log() + 0.25 * torch.tensor(0.5).log()
    torch.testing.assert_close(logit_loss(torch.zeros(2, 2), teacher), expected)
    # T = 2 softens logits 2 ln 3 to the same teacher; the gradient's scale is restored by T^2.
    torch.testing.assert_close(logit_loss(torch.zeros(2, 2), 2 * teacher, 2.0), 4 * expected)


def test_a_network_that_equals_its_teacher_has_no_loss(tmp_path: Path) -> None:
    student = resnet("1111-1-1:1:1:1", experts=1, num_classes=4, width=8, stem_width=8).eval()
    save_model(tmp_path / "teacher.safetensors", student, {})
    distillation = Distillation(
        student, tmp_path / "teacher.safetensors", torch.device("cpu"), DistillParams(**BOTH)
    )
    images = torch.randn(2, 3, 64, 64)
    assert distillation.loss(images, student(images)).item() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        for stage in student.stages[:2]:
            for conv in stage.modules():
                if isinstance(conv, nn.PReLU):
                    conv.weight.fill_(3.0)
    loss = distillation.loss(images, student(images))
    loss.backward()
    assert loss.item() > 1e-3
    grads = [stage[0][0].conv.weight.grad for stage in student.stages]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)
    params = DistillParams(attention=1.0, points=[0])
    first = Distillation(student, tmp_path / "teacher.safetensors", torch.device("cpu"), params)
    student.zero_grad()
    first.loss(images, student(images)).backward()
    assert student.stages[1][0][0].conv.weight.grad is None  # behind the only point


def test_the_teacher_chain(place: Place) -> None:
    step = {**place.content["train_one"], "epochs": 1}
    taught = {**step, "distill": BOTH}
    params = place.params(
        teacher=["real"],
        train_real=step,
        train_one=taught,
        train_experts=taught,
        train_binary={**step, "distill": {"logits": 1.0}},
    )
    with pytest.raises(InputError, match=r"teacher/train_real\.safetensors: does not exist"):
        run_training("train_one", 2, params)
    run_training("train_real", 1, params, on_line=lambda line: None)
    teacher = load_model(checkpoint_file("train_real", 1))
    for conv in binary_convs(teacher).values():
        assert (conv.experts, conv.binary_input, conv.binary_weight) == (1, False, False)
    plain = place.params(train_one=step)
    assert make_job("train_one", 1, plain).training.teacher is None
    run_training("train_one", 2, params, on_line=lambda line: None)
    replicate_stage(params, 2)
    run_training("train_experts", 2, params, on_line=lambda line: None)
    work = make_job("train_binary", 2, params).training
    assert work.teacher == work.start == checkpoint_file("train_experts", 2)
    run_training("train_binary", 2, params, on_line=lambda line: None)


def test_a_teacher_decides_the_fingerprint(place: Place) -> None:
    step = place.content["train_one"]
    params = place.params(teacher=["real"], train_real=step, train_one={**step, "distill": BOTH})
    fingerprints = set()
    for seed in range(2):
        torch.manual_seed(seed)
        network = resnet("1111-1-1:1:1:1", experts=1, num_classes=3, width=8, stem_width=8)
        save_model(checkpoint_file("train_real", 1), network, {})
        fingerprints.add(make_job("train_one", 1, params).fingerprint)
    assert len(fingerprints) == 2


def test_averaged_weights_are_what_is_kept(place: Place) -> None:
    """With a decay of nearly 1 the network of the first step stays; one epoch is one step here."""
    kept = {}
    for epochs, ema in ((1, 0.0), (3, 0.0), (3, 1 - 1e-9)):
        step = {"epochs": epochs, "batch_size": 72, "lr": 0.01, "ema": ema}
        run_training("train_one", 1, place.params(train_one=step), on_line=lambda line: None)
        kept[epochs, ema > 0] = load_model(checkpoint_file("train_one", 1)).state_dict()
    for name, value in kept[3, True].items():
        torch.testing.assert_close(value, kept[1, False][name], rtol=1e-5, atol=1e-6, msg=name)
    assert not torch.allclose(kept[3, False]["fc.weight"], kept[1, False]["fc.weight"], atol=1e-3)
