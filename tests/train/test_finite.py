"""A non-finite number stops training before it reaches the weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ebcore.checkpoint import load_checkpoint
from ebcore.errors import InputError
from ebcore.train.distributed import Group
from ebcore.train.finite import PeerFailed, check_finite
from ebcore.train.job import make_job
from ebcore.train.launch import run_training
from ebcore.train.precision import may_overflow

if TYPE_CHECKING:
    from tests.train.conftest import Place

ALONE = Group(0, 1, torch.device("cpu"), 1)
IMAGES = torch.ones(2, 2)


class WithPeer(Group):
    """A process beside one whose loss is bad."""

    def any(self, flags: list[bool]) -> list[bool]:
        return [True] * len(flags)


def checked(model: nn.Module, loss: Tensor, group: Group = ALONE, images: Tensor = IMAGES) -> None:
    indices = torch.tensor([5, 6])
    check_finite(model, loss, group, step=7, epoch=2, images=images, indices=indices)


def trained_once(weight: float = 0.5) -> tuple[nn.Sequential, Tensor]:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    with torch.no_grad():
        model[1].weight.fill_(weight)
    loss = model(IMAGES).sum()
    loss.backward()
    return model, loss.detach()


def test_finite_numbers_pass() -> None:
    checked(*trained_once())


def test_a_bad_gradient_is_named_with_step_and_batch() -> None:
    model, loss = trained_once()
    assert model[1].weight.grad is not None
    model[1].weight.grad[0, 1] = torch.nan
    with pytest.raises(InputError) as caught:
        checked(model, loss)
    text = str(caught.value)
    for part in ("step 7 (epoch 2)", "gradient of 1.weight", "2 samples: 5, 6"):
        assert part in text


def test_a_bad_loss_names_the_layer_where_it_began() -> None:
    with pytest.raises(InputError, match="the output of 1 is not finite"):
        checked(*trained_once(torch.nan))


def test_a_bad_image_is_named_as_the_input() -> None:
    model, _ = trained_once()
    with pytest.raises(InputError, match="the input is not finite"):
        checked(model, torch.tensor(torch.inf), images=IMAGES * torch.nan)


def test_the_process_with_the_bad_loss_reports_it() -> None:
    model, loss = trained_once()
    assert model[0].weight.grad is not None
    model[0].weight.grad[0, 0] = torch.inf  # averaged with the peer's
    with pytest.raises(PeerFailed):
        checked(model, loss, WithPeer(0, 2, torch.device("cpu"), 1))


def outcome_of(rank: int, where: str, meeting: Path) -> str:
    """One step of one of two processes; on rank 1 alone a number is bad. What it says."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    before = [p.detach().clone() for p in model.parameters()]
    images = torch.ones(2, 2)
    replica = DistributedDataParallel(model)
    if where == "input" and rank == 1:
        images[1, 0] = torch.inf
    loss = replica(images).sum() / (0 if where == "loss" and rank == 1 else 1)
    if where == "gradient" and rank == 1:
        model[1].bias.register_hook(lambda gradient: gradient * torch.nan)
    loss.backward()
    group, indices = Group(rank, 2, torch.device("cpu"), 1), torch.tensor([4 + rank, 6 + rank])
    try:
        check_finite(model, loss, group, step=7, epoch=2, images=images, indices=indices)
    except (InputError, PeerFailed) as error:
        assert all(map(torch.equal, before, model.parameters()))
        return f"{type(error).__name__} {error}"
    return "nothing"


@pytest.mark.parametrize("where", ["input", "loss", "gradient"])
def test_one_of_two_processes_sees_it_and_both_stop(tmp_path: Path, where: str) -> None:
    children = []
    for rank in range(2):
        children.append(os.fork())
        if children[-1] == 0:
            try:
                text = outcome_of(rank, where, tmp_path / "meeting")
            except BaseException as error:
                text = repr(error)
            (tmp_path / str(rank)).write_text(text)
            os._exit(0)
    for child in children:
        os.waitpid(child, 0)
    first, second = ((tmp_path / str(rank)).read_text() for rank in range(2))
    if where == "gradient":  # averaged: both have it
        assert "step 7 (epoch 2): the gradient of 1.bias" in first
    else:
        assert first.startswith("PeerFailed")
    what = {"gradient": "gradient of 1.bias", "loss": "the loss", "input": "the input"}[where]
    for part in ("InputError step 7 (epoch 2)", what, "batch of 2 samples: 5, 7"):
        assert part in second


def test_a_gradient_that_stays_bad_is_no_matter_of_the_loss_scale() -> None:
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    excused = []
    for _ in range(4):
        excused.append(may_overflow(scaler))
        scaler.scale(weight.sum() * torch.nan).backward()
        scaler.step(optimizer)  # leaves such a step out
        scaler.update()  # and halves the scale
        optimizer.zero_grad()
    assert excused == [True, True, True, False]  # 8, 4, 2, 1
    assert weight.item() == 1
    assert not may_overflow(torch.amp.GradScaler("cpu", enabled=False))


@pytest.mark.slow
def test_a_run_that_diverges_stops_and_keeps_its_last_good_state(place: Place) -> None:
    step = {**place.content["train_one"], "lr": 1e18}
    params = place.params(train_one=step, checkpoint_seconds=1e-6)
    job = make_job("train_one", 1, params)
    with pytest.raises(InputError) as caught:
        run_training("train_one", 1, params, on_line=lambda line: None)
    assert "is not finite; batch of 6 samples: " in str(caught.value)
    assert str(caught.value).startswith("step ")
    assert "output of" in str(caught.value) or "gradient of" in str(caught.value)
    assert not (job.folder / "final.safetensors").exists()
    states = list(job.folder.glob("state-*.safetensors"))
    for state in states:
        tensors, progress = load_checkpoint(state)
        assert progress["step"] <= int(str(caught.value).split()[1])
        assert all(t.isfinite().all() for t in tensors.values() if t.is_floating_point())
