"""Training with real workers: results, resume, refusals."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pytest

from ebcore import load_model
from ebcore.checkpoint import load_checkpoint, save_checkpoint
from ebcore.data.convert import convert
from ebcore.errors import InputError
from ebcore.methods.ebconv import replicate_stage
from ebcore.models.binarization import binary_convs
from ebcore.train.job import make_job
from ebcore.train.launch import run_training
from ebcore.workspace import BETON, checkpoint_file

if TYPE_CHECKING:
    from tests.train.conftest import Place

FIRST = Path("checkpoints/train_one.safetensors")


def test_the_four_steps_chain(place: Place) -> None:
    params = place.params()
    lines: list[str] = []
    records: list[dict[str, Any]] = []
    metrics = run_training("train_one", 2, params, on_line=lines.append, on_record=records.append)
    assert metrics["epochs"] == 3 and 0 <= metrics["top1"] <= metrics["best_top1"] <= 100
    assert json.loads(Path("metrics/train_one.json").read_text()) == metrics
    curve = pd.read_csv("plots/train_one.csv")
    assert curve["epoch"].tolist() == [1, 2, 3]
    # 15 images: accuracies are multiples of 100 / 15 when every image is counted once.
    counts = curve["val_top1"] * 15 / 100
    assert (counts - counts.round()).abs().max() < 1e-9
    assert any("epoch 3/3" in line for line in lines)
    assert [r["event"] for r in records].count("epoch") == 3
    assert records[-1] == {**records[-1], "event": "end", "step": 18, "epoch": 3}
    replicate_stage(params, 2)
    for stage, weights in (("train_experts", False), ("train_binary", True)):
        run_training(stage, 2, params, on_line=lines.append)
        model = load_model(checkpoint_file(stage, 2))
        assert model.metadata["classes"] == ["0", "1", "2"]
        for conv in binary_convs(model).values():
            assert (conv.experts, conv.binary_input, conv.binary_weight) == (2, True, weights)
    states = list(Path(".runs").glob("*/state-*"))
    assert states == []


def wait_for_state(place: Place, folder: Path, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not list(folder.glob("state-*")):
        assert time.monotonic() < end, "no state was written"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("loader", ["ffcv", "folder"])
def test_killed_and_stopped_runs_end_in_the_same_bytes(
    place: Place, loader: Literal["ffcv", "folder"]
) -> None:
    changes: dict[str, Any] = {"checkpoint_seconds": 0.05}
    changes["data"] = {**place.content["data"], "loader": loader}
    changes["train_one"] = {**place.content["train_one"], "epochs": 30, "mixup": 0.2, "ema": 0.9}
    params = place.params(**changes)
    convert(Path("images"), BETON, params.prepare, loader, name="bands", progress=False)
    run_training("train_one", 1, params, on_line=lambda line: None)
    expected = FIRST.read_bytes()
    FIRST.unlink()
    folder = make_job("train_one", 1, params).folder
    (folder / "final.safetensors").unlink()  # else it would be published again
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        process = place.start("train_one")
        wait_for_state(place, folder)
        process.send_signal(number)
        process.wait(60)
        assert not FIRST.exists()
        assert_no_worker_left(folder)
    assert sorted(folder.glob("state-*")), "a stopped run keeps its states"
    lines: list[str] = []
    run_training("train_one", 1, params, on_line=lines.append)
    assert any("goes on from epoch" in line for line in lines)
    assert FIRST.read_bytes() == expected


def assert_no_worker_left(folder: Path, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while left := [pid for pid, line in command_lines() if str(folder) in line]:
        assert time.monotonic() < end, f"still running: {left}"
        time.sleep(0.1)


def command_lines() -> list[tuple[int, str]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                found.append((int(entry.name), (entry / "cmdline").read_text()))
            except OSError:  # it ended meanwhile
                continue
    return found


def test_the_same_work_does_not_run_twice(place: Place) -> None:
    params = place.params()
    folder = make_job("train_one", 1, params).folder
    process = place.start("train_one")
    end = time.monotonic() + 60
    while not (folder / "lock").exists() or not (folder / "lock").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
    with pytest.raises(InputError, match=f"runs already in process {process.pid}"):
        run_training("train_one", 1, params)
    process.kill()
    process.wait()
    assert_no_worker_left(folder)


def test_bad_data_ends_in_the_workers_own_error(place: Place) -> None:
    params = place.params()
    beton = Path("data/beton/train.beton")
    os.truncate(beton, beton.stat().st_size - 10)
    with pytest.raises(InputError, match=r"train\.beton"):
        run_training("train_one", 1, params, on_line=lambda line: None)
    assert not FIRST.exists()


def test_a_missing_start_is_named_before_any_worker_starts(place: Place) -> None:
    with pytest.raises(InputError, match=r"replicate-2\.safetensors: does not exist"):
        run_training("train_experts", 2, place.params())


def test_only_what_decides_the_result_is_in_the_fingerprint(place: Place) -> None:
    params = place.params()
    base = make_job("train_one", 1, params).fingerprint
    same = [
        make_job("train_one", 4, params),
        make_job("train_one", 1, place.params(experts=[8])),
        make_job("train_one", 1, place.params(checkpoint_seconds=1.0)),
    ]
    assert {job.fingerprint for job in same} == {base}
    other = [
        make_job("train_one", 1, place.params(seed=1)),
        make_job("train_one", 1, place.params(workers=1)),
        make_job("train_one", 1, place.params(train_one={**place.content["train_one"], "lr": 1})),
    ]
    assert base not in {job.fingerprint for job in other}
    assert len({job.fingerprint for job in other}) == 3


@pytest.mark.slow
def test_training_again_gives_the_same_bytes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    params = place.params()
    monkeypatch.setenv("EBCORE_FORCE", "1")
    contents = []
    for _ in range(2):
        run_training("train_one", 1, params, on_line=lambda line: None)
        contents.append(FIRST.read_bytes())
    assert contents[0] == contents[1]


def test_a_trained_network_is_published_again_and_a_damaged_one_trained_again(
    place: Place,
) -> None:
    params = place.params()
    run_training("train_one", 1, params, on_line=lambda line: None)
    expected = FIRST.read_bytes()
    for damage, sign_of_it in ((False, "trained already"), (True, "epoch 3/3")):
        if damage:
            os.truncate(make_job("train_one", 1, params).folder / "final.safetensors", 100)
        FIRST.unlink()
        lines: list[str] = []
        records: list[dict[str, Any]] = []
        run_training("train_one", 1, params, on_line=lines.append, on_record=records.append)
        assert any(sign_of_it in line for line in lines)
        assert [r["epoch"] for r in records if r["event"] == "epoch"] == [1, 2, 3]
        assert FIRST.read_bytes() == expected


@pytest.mark.slow
def test_a_state_of_an_epochs_last_step_goes_on(place: Place) -> None:
    # Every step is saved: kill the run just when the state of the first epoch's last step is there.
    params = place.params(checkpoint_seconds=1e-6)
    folder = make_job("train_one", 1, params).folder
    process = place.start("train_one")
    wait_for_state(place, folder)
    process.kill()
    process.wait()
    assert_no_worker_left(folder)
    first = min(folder.glob("state-*"))
    tensors, progress = load_checkpoint(first)
    for state in folder.glob("state-*"):
        state.unlink()
    progress |= {"epoch": 0, "batch": 6, "step": 6, "curve": []}
    progress["sums"] = [[6.0, 36.0, 36.0]] * params.workers
    save_checkpoint(folder / "state-000000006.safetensors", tensors, progress)
    run_training("train_one", 1, params, on_line=lambda line: None)
    curve = pd.read_csv("plots/train_one.csv")
    assert curve["epoch"].tolist() == [1, 2, 3]
    assert curve["lr"].gt(0).all()
