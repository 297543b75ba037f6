"""The command on the machine that runs the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.mark.slow  # DVC and FFCV start twice
def test_it_reads_this_machine(tmp_path: Path) -> None:
    """No network, images or GPU are needed; a demand that no machine meets is refused."""
    content = yaml.safe_load((ROOT / "params/imagenet.yaml").read_text())
    content["data"]["folder"] = "images"
    for split in ("train", "val"):
        (tmp_path / "images" / split / "cat").mkdir(parents=True)
        (tmp_path / "images" / split / "cat" / "0.JPEG").write_bytes(bytes(1000))
    content |= {"device": "cpu", "profile": "small"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Profile small" in done.stdout and "Nothing is missing" in done.stdout
    assert "1 + 1 images" in done.stdout
    (tmp_path / "images/val/cat/0.JPEG").unlink()
    done = run(tmp_path)
    assert done.returncode == 1 and "1 + 0 images" in done.stdout and "1 missing" in done.stdout


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ebcore.cli", "doctor"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
