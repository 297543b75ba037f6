"""BatchNorm over all workers: what it changes, and what it must not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from ebcore import load_model
from ebcore.errors import InputError
from ebcore.models import resnet
from ebcore.models.checkpoint import save_model
from ebcore.train.job import make_job
from ebcore.train.launch import run_training

if TYPE_CHECKING:
    from tests.train.conftest import Place


def kinds(model: nn.Module) -> set[str]:
    return {type(each).__name__ for each in model.modules() if "BatchNorm" in type(each).__name__}


def test_a_network_trained_with_it_is_an_ordinary_one(tmp_path: Path) -> None:
    model = resnet("1111-1-1:1:1:1", experts=2, num_classes=3, stem="small", width=8, stem_width=8)
    names, parameters = list(model.state_dict()), [id(p) for p in model.parameters()]
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = model.eval()(images)
    nn.SyncBatchNorm.convert_sync_batchnorm(model)  # as ebcore.train.loop does
    assert kinds(model) == {"SyncBatchNorm"}
    assert list(model.state_dict()) == names
    assert [id(p) for p in model.parameters()] == parameters  # so the optimizer has them
    save_model(tmp_path / "model.safetensors", model, {})
    loaded = load_model(tmp_path / "model.safetensors")
    assert kinds(loaded) == {"BatchNorm2d"}
    assert torch.equal(loaded(images), expected)


def test_it_is_part_of_the_fingerprint(place: Place) -> None:
    jobs = [make_job("train_one", 1, place.params(sync_batchnorm=value)) for value in (False, True)]
    assert jobs[0].fingerprint != jobs[1].fingerprint


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_refused(place: Place) -> None:
    with pytest.raises(InputError, match="sync_batchnorm: true: this machine has no CUDA device"):
        run_training("train_one", 1, place.params(sync_batchnorm=True))


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_share_their_statistics(place: Place) -> None:
    def statistics(share: bool) -> torch.Tensor:
        params = place.params(workers=2, device="cuda", sync_batchnorm=share)
        run_training("train_one", 1, params, on_line=lambda line: None)
        state = load_model("checkpoints/train_one.safetensors").state_dict()
        return torch.cat([value for name, value in state.items() if "running_mean" in name])

    assert not torch.equal(statistics(False), statistics(True))
