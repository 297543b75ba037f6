"""The dry run: its arithmetic by hand, and every stage once at a small size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ebcore.data.estimate import DataSize
from ebcore.data.photos import write_photos
from ebcore.data.progress import Phase
from ebcore.errors import InputError
from ebcore.params import load_params
from flows.dry_run.scratch import Cut, cut_params, write_scratch
from flows.dry_run.times import Rates, evaluating, preparing, rates, training

ROOT = Path(__file__).parents[2]
SIZE = DataSize(train=1000, val=100, files=10**8, source="by hand")


def test_rates_come_from_the_last_epoch() -> None:
    """10 steps of 8 images in 4 s, then 12 images in 2 s; what warmed up does not count."""
    log = [
        {"event": "start", "step": 0, "time": 0.0},
        {"event": "checkpoint", "step": 5, "time": 40.0},  # by checkpoint_seconds
        {"event": "step", "step": 10, "time": 50.0},
        {"event": "epoch", "step": 10, "time": 60.0},
        {"event": "checkpoint", "step": 10, "time": 61.0},
        {"event": "step", "step": 20, "time": 65.0},
        {"event": "epoch", "step": 20, "time": 67.0},
        {"event": "checkpoint", "step": 20, "time": 68.0},
    ]
    assert rates(log, batch_size=8, val=12) == Rates(train=20.0, val=6.0)


def test_a_training_sees_every_image_every_epoch() -> None:
    """75 x (1000 / 20 + 100 / 50) = 3900 s on one worker, a quarter of that on four."""
    found = Rates(train=20.0, val=50.0)
    assert training("train_one", 75, SIZE, found, scale=1).seconds == 3900
    four = training("train_one", 75, SIZE, found, scale=4)
    assert (four.seconds, four.per_second, four.images) == (975, 80, 75_000)


def test_the_check_spreads_over_the_cores() -> None:
    """10 images checked in 1 s on one core: 1100 on 4 in 27.5 s; written at 100 a second: 11 s."""
    phases = [
        Phase("check", 10, 1000, 1.0),
        Phase("write train.beton", 8, 800, 0.08),
        Phase("write val.beton", 2, 200, 0.02),
    ]
    assert preparing(phases, SIZE, cores=4).seconds == pytest.approx(27.5 + 11)


def test_evaluation_without_its_start() -> None:
    """5 s to start, 10 s for 20 images: 55 s for 100."""
    assert evaluating("evaluate@4", 15.0, 5.0, 20, SIZE).seconds == 55.0


def test_the_network_stays_as_it_is() -> None:
    for profile in ("imagenet", "imagenet-distilled"):
        params = load_params(ROOT / f"params/{profile}.yaml")
        content = cut_params(params, Cut(1, 4, 10, 3, 4, [8]), Path("images"))
        assert content["model"] == params.model_dump(mode="json", exclude_unset=True)["model"]
        assert content["data"]["image_size"] == 224
        assert content["train_binary"]["epochs"] == 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_stage_runs_and_nothing_is_left(tmp_path: Path) -> None:
    content = yaml.safe_load((ROOT / "params/imagenet.yaml").read_text())
    content["data"] |= {"image_size": 32, "resize": 36, "folder": "images"}
    content["model"] |= {"spec": "1111-1-1:1:1:1", "width": 8, "stem_width": 8}
    content |= {"experts": [1, 2], "device": "cpu"}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content))
    write_photos(tmp_path / "images", classes=4, train=20, val=5)
    (tmp_path / "scratch").mkdir()
    before = sorted(tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "flows.dry_run", "--params", "small.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "scratch")},
        # One core, so one thread: several that spin are slow where other tests run.
        preexec_fn=lambda: os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "80 + 20 images" in done.stdout
    branch = ("replicate", "train_experts", "train_binary", "pack", "evaluate", "benchmark")
    stages = [f"{name}@{experts}" for experts in (1, 2) for name in branch]
    for stage in ("prepare", "train_one", *stages, "report"):
        assert f" {stage} " in done.stdout, stage
    assert "This is a CPU" in done.stdout
    assert sorted(tmp_path.iterdir()) == before
    assert not list((tmp_path / "scratch").glob("ebcore-dry-*"))


def test_an_own_folder_with_too_few_images_is_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / "own" / split / "cat").mkdir(parents=True)
        for number in range(5):
            (tmp_path / "own" / split / "cat" / f"{number}.JPEG").touch()
    params = load_params(ROOT / "params/imagenet.yaml")
    data = params.data.model_copy(update={"folder": str(tmp_path / "own")})
    with pytest.raises(InputError, match="hold 5 training images, fewer than 10 batches of 4"):
        write_scratch(tmp_path, params.model_copy(update={"data": data}), Cut(1, 4, 10, 3, 4, [8]))


def test_bad_arguments(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flows.dry_run", "--steps", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "no multiple of 10" in done.stderr.splitlines()[-1]
