"""One step of every training stage for the paper's network, on four processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from ebcore import load_model
from ebcore.data.convert import convert
from ebcore.measure.ops import count_ops
from ebcore.methods.ebconv import replicate_stage
from ebcore.models.binarization import binary_convs
from ebcore.params import parse_params
from ebcore.train.launch import run_training
from ebcore.workspace import BETON, checkpoint_file

ROOT = Path(__file__).parents[2]
STEP = {"epochs": 1, "batch_size": 8, "lr": 1e-3}  # 8 images: one step
DISTILL = {"distill": {"attention": 1000, "points": [1, 2, 3], "logits": 1}}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_stage_takes_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for split, number in [("train", n) for n in range(8)] + [("val", n) for n in range(4)]:
        folder = Path("images") / split / str(number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.JPEG")
    content: dict[str, Any] = yaml.safe_load((ROOT / "params/imagenet-distilled.yaml").read_text())
    content["data"] |= {"folder": "images", "name": "noise", "image_size": 64, "resize": 64}
    content["prepare"] |= {"page_size": 1 << 21}
    content |= {"device": "cpu", "workers": 4, "train_real": STEP}
    content |= dict.fromkeys(("train_one", "train_experts", "train_binary"), STEP | DISTILL)
    params = parse_params(content, "params.yaml")
    assert params.model.spec == "1262-2-4:8:8:16"
    convert(Path("images"), BETON, params.prepare, params.data.loader, name="noise", progress=False)
    records: list[dict[str, Any]] = []
    for stage in params.training_stages:
        if stage == "train_experts":
            replicate_stage(params, 4)
        run_training(stage, 4, params, on_record=records.append)
    assert [r["step"] for r in records if r["event"] == "end"] == [1, 1, 1, 1]
    binary = load_model(checkpoint_file("train_binary", 4))
    assert {conv.experts for conv in binary_convs(binary).values()} == {4}
    before = load_model(checkpoint_file("train_experts", 4)).state_dict()
    moved = [k for k, v in binary.state_dict().items() if not v.equal(before[k])]
    assert {name for name in moved if name.endswith("conv.weight")} == {
        f"{name}.weight" for name in binary_convs(binary)
    }
    assert round(count_ops(binary, (3, 224, 224)).bops / 1e9, 1) == 1.7
