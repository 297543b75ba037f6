"""Parameters with an ablation of a few tiny variants; results of trainings by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ebcore.ablation.files import point_file
from ebcore.params import Params, parse_params
from tests.train.conftest import place

__all__ = ["place"]

ROOT = Path(__file__).parents[2]
BASE = {"series": "activation"}
CONCAT = {"series": "compression", "shortcut": "concat"}


def section(seeds: list[int], **variants: dict[str, Any]) -> dict[str, Any]:
    """The section ftbnn of the digits profile with these variants."""
    content = yaml.safe_load((ROOT / "params" / "digits.yaml").read_text())["ftbnn"]
    return {**content, "seeds": seeds, "compared": [], "variants": variants}


def ablation_params(seeds: list[int], **variants: dict[str, Any]) -> Params:
    content = yaml.safe_load((ROOT / "params" / "digits.yaml").read_text())
    content |= {"ftbnn": section(seeds, **variants), "networks": []}
    return parse_params(content, "params.yaml")


def write_results(variant: str, top1: list[float]) -> None:
    """A result per seed 0, 1, ...; 360 validation images of 10 classes."""
    runs = [
        {"seed": seed, "top1": value, "top1_real_weights": 99.0, "epochs": 13.0, "seconds": 7.0}
        for seed, value in enumerate(top1)
    ]
    path = point_file(variant)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"classes": 10, "images": 360, "runs": runs}))


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
