"""What a real training with two workers tells of itself, unbroken and killed."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ebcore.methods.ebconv import replicate_stage, start_model, training
from ebcore.models.checkpoint import save_model
from ebcore.train.job import make_job
from ebcore.train.launch import run_training
from ebcore.train.log import read_log
from ebcore.workspace import checkpoint_file
from tests.train.test_training import assert_no_worker_left

if TYPE_CHECKING:
    from tests.train.conftest import Place

IMAGES = 72  # 3 classes of 24, six batches of 12
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def without_clock(records: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    clocks = {"time", "images_per_second", "data_wait"}
    found = [record for record in records if record["event"] == event]
    return [{k: v for k, v in record.items() if k not in clocks} for record in found]


def test_gates_throughput_and_waiting_are_logged_and_survive_a_kill(place: Place) -> None:
    params = place.params(checkpoint_seconds=1e-6)  # every step is saved
    first = start_model(training("train_one", "1", params), num_classes=3)
    save_model(checkpoint_file("train_one", 1), first, {})
    replicate_stage(params, 2)
    lines: list[str] = []
    run_training("train_experts", 2, params, on_line=lines.append)
    folder = make_job("train_experts", 2, params).folder
    unbroken = read_log(folder)
    network = Path("checkpoints/train_experts-2.safetensors")
    expected = network.read_bytes()

    gates = without_clock(unbroken, "gates")
    assert [(record["step"], record["epoch"]) for record in gates] == [(6, 1), (12, 2), (18, 3)]
    for record in gates:
        shares = {key: value for key, value in record.items() if "/expert_" in key}
        assert len(shares) == 2 * 12 * 2  # splits, layers, experts
        for key, share in shares.items():
            count = share * (15 if key.startswith("val_") else IMAGES)  # both workers' images
            assert count == pytest.approx(round(count), abs=1e-9)
        assert all(0 <= value <= 1 for key, value in record.items() if key.endswith("_entropy"))
    for record in unbroken:
        if record["event"] in ("step", "epoch"):
            assert record["images_per_second"] > 0 and 0 <= record["data_wait"] < 1
    assert any(" images/s, " in line for line in lines)
    idle = {k for k, v in gates[0].items() if "/expert_" in k and not v}
    assert bool(idle) == any(line.startswith("warning: experts that no ") for line in lines)

    network.unlink()
    (folder / "final.safetensors").unlink()
    process = place.start("train_experts", 2)
    wait_for_step(folder, 9)  # in the middle of an epoch
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert_no_worker_left(folder)
    run_training("train_experts", 2, params, on_line=lines.append)
    assert any("goes on from epoch" in line for line in lines)
    assert network.read_bytes() == expected
    resumed = read_log(folder)
    for event in ("gates", "epoch", "step"):
        assert without_clock(resumed, event) == without_clock(unbroken, event)


def wait_for_step(folder: Path, step: int, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not any(int(path.name[6:15]) >= step for path in folder.glob("state-*.safetensors")):
        assert time.monotonic() < end, "no state was written"
        time.sleep(0.005)
