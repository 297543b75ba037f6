"""Parameters with a growth study of a few tiny structures; a place to train them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ebcore.params import Params, parse_params
from tests.train.conftest import place

__all__ = ["place"]

ROOT = Path(__file__).parents[2]
TINY = {"series": "E = 1", "spec": "1111-1-1:1:1:1", "pointwise": False}
# By hand, for 16 x 16 px, 8 channels in the stem and in stage 0, 3x3 only: pixels * out * in * 9.
TINY_BOPS = (
    2 * (256 * 8 * 8 * 9)
    + (64 * 16 * 8 * 9 + 64 * 16 * 16 * 9)
    + (16 * 32 * 16 * 9 + 16 * 32 * 32 * 9)
    + (4 * 64 * 32 * 9 + 4 * 64 * 64 * 9)
)


def study_params(**structures: dict[str, Any]) -> Params:
    content = yaml.safe_load((ROOT / "params" / "digits.yaml").read_text())
    content["model"] |= {"spec": "1111-2-4:4:4:4", "width": 8, "stem_width": 8}
    content["growth"] = {"structures": structures}
    return parse_params(content, "params.yaml")


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
