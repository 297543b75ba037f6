"""A prepared folder of a few small images, and parameters that train on it in seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from ebcore.data.convert import convert
from ebcore.params import Params, parse_params
from ebcore.workspace import BETON

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Place:
    """A folder to train in."""

    folder: Path
    content: dict[str, Any]

    def params(self, **changes: Any) -> Params:
        content = {**self.content, **changes}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(content))
        return parse_params(content, "params.yaml")

    def start(self, stage: str, experts: int = 1) -> subprocess.Popen[str]:
        """A process that trains a stage with the parameters written last."""
        code = (
            "from ebcore.params import load_params\n"
            "from ebcore.train.launch import run_training\n"
            f"run_training({stage!r}, {experts}, load_params(), on_line=lambda line: None)"
        )
        return subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def write_bands(root: Path, counts: tuple[int, int]) -> None:
    """`counts` (train, val) images of 16 px in each of three classes."""
    random = np.random.default_rng(0)
    for split, count in zip(("train", "val"), counts, strict=True):
        for label in range(3):
            folder = root / split / str(label)
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 90, (16, 16, 3), dtype=np.uint8)
                pixels[4 * label : 4 * label + 5] += 150  # a bright band tells the class
                Image.fromarray(pixels).save(folder / f"{number:02}.JPEG", quality=95)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    write_bands(tmp_path / "images", counts=(24, 5))
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load((ROOT / "params" / "digits.yaml").read_text())
    content["data"] |= {"folder": "images", "name": "bands", "fetch": []}
    content["model"] |= {"spec": "1111-1-1:1:1:1", "width": 8, "stem_width": 8}
    step = {"epochs": 3, "batch_size": 12, "lr": 0.01}
    content |= dict.fromkeys(("train_one", "train_experts", "train_binary"), step)
    found = Place(tmp_path, content)
    params = found.params()
    convert(Path("images"), BETON, params.prepare, params.data.loader, name="bands", progress=False)
    return found
