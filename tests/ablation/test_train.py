"""One variant through real workers, both steps, and what its networks are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from ebcore import load_model
from ebcore.ablation.files import point_file
from ebcore.ablation.train import train_variant, write_point
from ebcore.packed import available, pack
from ebcore.packed.agreement import agreement
from ebcore.packed.isa import VARIABLE
from ebcore.train.job import make_job
from tests.ablation.conftest import section

if TYPE_CHECKING:
    from tests.train.conftest import Place

STEP = {"epochs": 2, "batch_size": 12, "lr": 0.01}
ODD = {"series": "odd", "activation": "two_slope_prelu", "activation_position": "after",
       "shortcut": "concat"}  # fmt: skip


@pytest.mark.slow
def test_a_variant_trains_once_packs_and_agrees(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    ftbnn = section([3, 4], odd=ODD) | {"train_real": STEP, "train_binary": STEP}
    params = place.params(ftbnn=ftbnn, networks=[])
    records: list[dict[str, Any]] = []
    result = train_variant(params, "odd", 3, on_line=lambda line: None, on_record=records.append)
    assert result["seed"] == 3 and result["epochs"] == 4 and 0 <= result["top1"] <= 100
    steps = [record["step"] for record in records]
    assert steps == sorted(steps) and steps[-1] == 2 * 12  # 72 images by 12, 2 epochs, twice

    # the run directories are those of the pipeline's stages for this variant and seed
    real = make_job("ftbnn_real", "odd-3", params)
    network = real.folder / "final.safetensors"
    binary = make_job("ftbnn_binary", "odd-3", params, start=network)
    assert {path.name for path in Path(".runs").iterdir()} == {real.folder.name, binary.folder.name}
    lines: list[str] = []
    assert train_variant(params, "odd", 3, on_line=lines.append) == result
    assert len(lines) == 2 and all("trained already" in line for line in lines)

    write_point("odd", [result])
    point = json.loads(point_file("odd").read_text())
    assert (point["classes"], point["images"], point["runs"]) == (3, 15, [result])

    first, last = load_model(network), load_model(binary.folder / "final.safetensors")
    assert (first.metadata["stage"], last.metadata["stage"]) == ("ftbnn_real", "ftbnn_binary")
    for option in ("activation", "activation_position", "shortcut"):
        assert last.config[option] == ODD[option]
    images = torch.randn(32, 3, 16, 16)
    for name in available():
        monkeypatch.setenv(VARIABLE, name)
        packed = pack(last, (3, 16, 16))
        assert packed.isa == name
        report = agreement(last, packed, images)
        assert report.ok, report.violations
