"""The same batches whatever decodes them: threads, processes, fresh starts, resume points."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ebcore.data.convert import convert
from ebcore.params import PrepareParams

ROOT = Path(__file__).parents[2]
FRESH = 3  # processes, each with 1 and 2 decoding threads (folder: processes)
EPOCHS = 2
RESUMED = ((0, 1), (0, 5), (1, 0), (1, 3), (1, 6))  # epoch, batch; 27 images make 6 of 4

# Hashes of images, labels and indices per batch: {threads: [epoch][batch]}, then from each point.
HASHES = f"""
import hashlib, json, sys
from ebcore.data import ffcv_loader
from ebcore.data.loader import open_split
from ebcore.params import DataParams

def hashes(batches):
    return [hashlib.sha256(b"".join(part.numpy().tobytes() for part in batch)).hexdigest()
            for batch in batches]

folder, loader, ffcv_loader.FEW = sys.argv[1], sys.argv[2], int(sys.argv[3])
data = DataParams(name="x", fetch=[], folder=folder, loader=loader, image_size=24, resize=28,
                  crop="resized", flip=True)
found = {{"whole": {{}}, "resumed": {{}}}}
for threads in (1, 2):
    split = open_split(loader, "train", data, batch_size=4, seed=1, threads=threads)
    found["resumed"][threads] = [hashes(split.epoch(*point)) for point in {RESUMED}]
    found["whole"][threads] = [hashes(split.epoch(epoch)) for epoch in range({EPOCHS})]
    split.close()
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loader", "few"),
    [("ffcv", 0), ("ffcv", 100), ("folder", 0)],
    ids=["compiled", "interpreted", "folder"],
)
def test_batches_are_those_of_every_other_run(
    varied: Path, tmp_path: Path, loader: str, few: int
) -> None:
    """Not those of the other loader: the decoders round differently."""
    prepare = PrepareParams(jpeg_fraction=0.5)
    convert(varied, tmp_path / loader, prepare, loader, name="x", progress=False)  # type: ignore[arg-type]
    (tmp_path / "hashes.py").write_text(HASHES)
    runs = []
    for _ in range(FRESH):
        done = subprocess.run(
            [sys.executable, "hashes.py", str(varied), loader, str(few)],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    whole = runs[0]["whole"]["1"]
    assert [len(epoch) for epoch in whole] == [6] * EPOCHS
    assert len({batch for epoch in whole for batch in epoch}) == 6 * EPOCHS  # no two alike
    for run in runs:
        for threads in ("1", "2"):
            assert run["whole"][threads] == whole
            assert run["resumed"][threads] == [whole[epoch][batch:] for epoch, batch in RESUMED]
