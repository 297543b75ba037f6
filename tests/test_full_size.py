"""The paper's ImageNet network, 1262-2-4:8:8:16 with 4 experts at 224 px, random weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from ebcore import load_model
from ebcore.cli import main
from ebcore.measure.usage import last_experts, recorded_experts
from ebcore.models import EBResNet, resnet
from ebcore.models.checkpoint import save_model
from ebcore.packed import agreement, load
from tests.networks import calibrate, pictures, randomise

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SPEC, SIZE = "1262-2-4:8:8:16", 224
BINARY_LAYERS = 3 * (1 + 2 + 6 + 2)  # two 3x3 and a 1x1 in each block


class Network(NamedTuple):
    file: Path
    model: EBResNet
    images: Tensor


@pytest.fixture(scope="module", params=[False, True], ids=["without SE", "with SE"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Network:
    """As in a checkpoint; BatchNorm statistics and gates come from 8 other images."""
    torch.manual_seed(0)
    model = resnet(SPEC, experts=4, se=request.param)
    randomise(model)
    calibrate(model, pictures(8, SIZE, seed=1))
    file = tmp_path_factory.mktemp("full") / "model.safetensors"
    save_model(file, model, {"image_size": SIZE})
    return Network(file, load_model(file), pictures(32, SIZE))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["ebcore", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code


def test_summary(
    network: Network, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Table 4: 1.7e9 binary operations; SE adds none."""
    run(monkeypatch, "summary", network.file)
    total = capsys.readouterr().out.splitlines()[-2]
    assert "total" in total and "1,706,786,816" in total


def test_packed_agrees_with_pytorch(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    _, model, images = network
    chosen = []
    with recorded_experts(model) as layers, torch.no_grad():
        for batch in images.split(8):
            model(batch)
            chosen.append(last_experts(layers, len(batch)))
    assert len(layers) == BINARY_LAYERS
    for name, experts in zip(layers, torch.cat(chosen).T, strict=True):
        assert experts.unique().tolist() == [0, 1, 2, 3], name

    file = network.file.with_suffix(".ebp")
    run(monkeypatch, "pack", network.file, file)
    report = agreement(model, load(file), images, batch_size=8)
    assert report.violations == []
    assert report.images == 32
    # With most images listed, end to end would say little.
    assert report.listed_share <= 0.5
    assert len(report.reference_top1.unique()) > 1
