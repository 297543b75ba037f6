"""The loader benchmark at a small size: real processes, every candidate."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FFCV = ("ffcv", "ffcv_uint8", "ffcv_jpeg", "ffcv_raw")


@pytest.mark.slow
def test_every_candidate_has_a_row(tmp_path: Path) -> None:
    out = tmp_path / "loader.csv"
    command = [sys.executable, "-m", "benchmarks.loader", "--images", "64", "--repeats", "2"]
    done = subprocess.run(
        [*command, "--threads", "1", "--out", str(out)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with open(out, newline="", encoding="utf-8") as file:
        rows = {row["candidate"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["torchvision", "folder", *FFCV]
    base = float(rows["torchvision"]["images_per_second"])
    for row in rows.values():
        ratio = float(row["images_per_second"]) / base
        assert float(row["speedup"]) == pytest.approx(ratio, rel=1e-4) and row["cpu"]
    stored = {name: float(rows[name]["stored_kb"]) for name in FFCV}  # in pages of 8 MiB
    assert float(rows["ffcv_jpeg"]["file_kb"]) < stored["ffcv_jpeg"]  # whole, with what pages waste
    assert stored["ffcv_uint8"] == stored["ffcv"] <= stored["ffcv_raw"]
    goals = {name for name, row in rows.items() if row["goal"] == ">= 3"}
    assert goals == set(FFCV)


def test_a_folder_with_too_few_images_is_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split / "cat").mkdir(parents=True)
    command = [sys.executable, "-m", "benchmarks.loader", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("holds 0 images. Give at least 64.")
