"""Eleven kinds of bad input, each through a real process: one last line, nothing half-written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from ebcore.data.convert import convert
from ebcore.models import resnet
from ebcore.models.checkpoint import save_model
from ebcore.packed import pack
from ebcore.params import parse_params

ROOT = Path(__file__).parents[2]
CHECKPOINT = Path("checkpoints/train_binary-1.safetensors")
PACKED = Path("packed/ebconv-1.ebp")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, .beton, a checkpoint and its packed file, all in order."""
    folder = tmp_path_factory.mktemp("good")
    random = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 4)):
        for name in ("a", "b"):
            place = folder / "images" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 255, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number:02}.JPEG")
    content: dict[str, Any] = yaml.safe_load((ROOT / "params/digits.yaml").read_text())
    content["data"] |= {"name": "two", "folder": "images", "fetch": []}
    content["model"] |= {"spec": "1111-1-1:1:1:1", "width": 8, "stem_width": 8}
    content["experts"], content["train_one"]["batch_size"] = [1], 8
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    params = parse_params(content, "params.yaml")
    before = Path.cwd()
    os.chdir(folder)
    try:
        convert(
            Path("images"), Path("data/beton"), params.prepare, "ffcv", name="two", progress=False
        )
        torch_model = resnet(**params.model.model_dump(), experts=1, num_classes=2).eval()
        torch_model.metadata = {
            "classes": ["a", "b"],
            "mean": [0.5] * 3,
            "std": [0.2] * 3,
            "image_size": 16,
            "resize": None,
        }
        save_model(CHECKPOINT, torch_model, torch_model.metadata)
        save_model("checkpoints/train_one.safetensors", torch_model, torch_model.metadata)
        PACKED.parent.mkdir()
        pack(torch_model, (3, 16, 16)).save(PACKED)
    finally:
        os.chdir(before)
    return folder


def set_param(key: str, value: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "params.yaml"
        content = yaml.safe_load(path.read_text())
        section = content
        *sections, last = key.split(".")
        for name in sections:
            section = section[name]
        section[last] = value
        path.write_text(yaml.safe_dump(content))

    return change


def truncate(path: str | Path, share: float = 0.5) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        os.truncate(folder / path, int((folder / path).stat().st_size * share))

    return change


def flip(path: str | Path) -> Callable[[Path], None]:
    """Alters one byte near the end."""

    def change(folder: Path) -> None:
        content = bytearray((folder / path).read_bytes())
        content[-9] ^= 4
        (folder / path).write_bytes(content)

    return change


def remove(path: str) -> Callable[[Path], None]:
    return lambda folder: shutil.rmtree(folder / path)


def empty_class(folder: Path) -> None:
    for image in (folder / "images/train/b").iterdir():
        image.unlink()


PREPARE, TRAIN = ("flows.prepare",), ("flows.train_one",)
REPLICATE, PACK = ("flows.replicate", "1"), ("flows.pack", "1")
BENCH = ("ebcore.cli", "bench", str(PACKED))
CASES: dict[str, tuple[Callable[[Path], None], tuple[str, ...], list[str]]] = {
    "missing folder": (remove("images"), PREPARE, ["images", "no such folder", "data.folder"]),
    "empty class": (empty_class, PREPARE, ["images/train/b"]),
    "corrupt JPEG": (truncate("images/train/a/03.JPEG"), PREPARE, ["03.JPEG", "on_corrupt"]),
    "class mismatch": (remove("images/val/b"), PREPARE, ["images", "b"]),
    "truncated .beton": (truncate("data/beton/train.beton"), TRAIN, ["train.beton", "prepare"]),
    "altered .beton": (flip("data/beton/val.beton"), TRAIN, ["val.beton", "prepare"]),
    "truncated checkpoint": (truncate(CHECKPOINT), PACK, [CHECKPOINT.name, "truncated", "dvc"]),
    "wrong checkpoint": (
        truncate("checkpoints/train_one.safetensors", 0),
        REPLICATE,
        ["train_one.safetensors", "truncated", "dvc"],
    ),
    "truncated packed file": (truncate(PACKED), BENCH, [PACKED.name, "truncated"]),
    "altered packed file": (flip(PACKED), BENCH, [PACKED.name, "altered"]),
    "unknown parameter": (
        set_param("train_one.momentum", 0.9),
        PREPARE,
        ["train_one.momentum", "0.9", "Allowed here"],
    ),
    "out-of-range parameter": (set_param("train_one.lr", -1), PREPARE, ["train_one.lr", "-1"]),
    "no expert": (set_param("experts", [0]), PREPARE, ["experts.0", "0", "greater"]),
}


@pytest.mark.parametrize("kind", CASES)
def test_bad_input(kind: str, good: Path, tmp_path: Path) -> None:
    change, command, parts = CASES[kind]
    folder = tmp_path / "checkout"
    shutil.copytree(good, folder)
    change(folder)
    before = files(folder)
    stage = command[0].removeprefix("flows.") + "".join(f"@{n}" for n in command[1:2])
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": stage, "EBCORE_INNER": "1"},
        capture_output=True,
        text=True,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0, done.stdout
    assert last.startswith("error: "), done.stderr[-2000:]
    for part in parts:
        assert part in last
    assert "Traceback" not in done.stderr + done.stdout
    assert files(folder) == before


def files(folder: Path) -> dict[str, int]:
    """Every file but progress and records, by size."""
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not {".runs", ".prefect", "mlruns"} & set(path.parts)
        if not path.name.startswith("mlflow.db")
    }
