"""A worker that dies: the group starts again from the newest state, a limited number of times."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from ebcore.data.convert import convert
from ebcore.errors import InputError
from ebcore.params import Params
from ebcore.train.job import make_job
from ebcore.train.launch import run_training
from ebcore.train.log import read_log
from ebcore.workspace import BETON
from tests.train.workers import assert_all_leave, processes, worker

if TYPE_CHECKING:
    from tests.train.conftest import Place

pytestmark = pytest.mark.slow
FINAL = Path("checkpoints/train_one.safetensors")


def tiny(place: Place, workers: int) -> Params:
    changes: dict[str, Any] = {"workers": workers, "checkpoint_seconds": 0.05}
    changes["data"] = {**place.content["data"], "loader": "folder"}  # starts faster
    changes["train_one"] = {**place.content["train_one"], "epochs": 12, "mixup": 0.2, "ema": 0.9}
    params = place.params(**changes)
    convert(Path("images"), BETON, params.prepare, "folder", name="bands", progress=False)
    return params


class Killer:
    """Follows a run's log and sends a signal to a process at each of some steps."""

    def __init__(self, folder: Path, plan: list[tuple[int, int]], number: int) -> None:
        self.folder, self.plan, self.number = folder, plan, number

    def __call__(self, record: dict[str, Any]) -> None:
        if self.plan and record["event"] == "checkpoint" and record["step"] >= self.plan[0][0]:
            _, rank = self.plan.pop(0)
            worker(self.folder, rank).send_signal(self.number)


@pytest.mark.timeout(600)
def test_a_killed_worker_of_four_costs_a_restart_and_changes_nothing(place: Place) -> None:
    params = tiny(place, workers=4)
    metrics = run_training("train_one", 1, params, on_line=lambda line: None)
    expected = FINAL.read_bytes()
    FINAL.unlink()
    folder = make_job("train_one", 1, params).folder
    (folder / "final.safetensors").unlink()  # else it would be published again

    choose = random.Random(4)
    other = choose.randrange(1, 4)
    first, second = choose.randrange(5, 25), choose.randrange(35, 60)  # of 72 steps
    lines: list[str] = []
    killer = Killer(folder, [(first, other), (second, 0)], signal.SIGKILL)
    again = run_training("train_one", 1, params, on_line=lines.append, on_record=killer)

    assert killer.plan == []
    told = [line for line in lines if "restart" in line]
    assert len(told) == 2
    assert told[0].startswith(f"worker {other} died (SIGKILL); restart 1 of 3 from step ")
    assert told[1].startswith("worker 0 died (SIGKILL); restart 2 of 3 from step ")
    assert int(told[0].split()[-1]) >= first and int(told[1].split()[-1]) >= second
    assert FINAL.read_bytes() == expected
    assert {k: v for k, v in again.items() if "second" not in k} == {
        k: v for k, v in metrics.items() if "second" not in k
    }
    steps = [record["step"] for record in read_log(folder) if record["event"] == "step"]
    assert steps == [10, 20, 30, 40, 50, 60, 70]  # nothing twice


def test_restarts_are_limited(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBCORE_RESTARTS", "1")
    params = tiny(place, workers=2)
    folder = make_job("train_one", 1, params).folder
    lines: list[str] = []
    killer = Killer(folder, [(1, 1), (10, 1)], signal.SIGKILL)
    with pytest.raises(InputError) as caught:
        run_training("train_one", 1, params, on_line=lines.append, on_record=killer)
    assert caught.value.reason == "worker 1 died (SIGKILL) after 1 restarts"
    assert "EBCORE_RESTARTS=N allows more" in caught.value.remedy
    assert str(folder) in caught.value.remedy
    assert sum("restart 1 of 1" in line for line in lines) == 1
    assert_all_leave(folder, 20)


@pytest.mark.parametrize("value", ["-1", "many", "1.5"])
def test_a_bad_number_of_restarts_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("EBCORE_RESTARTS", value)
    with pytest.raises(InputError, match=rf"EBCORE_RESTARTS={value}"):
        run_training("train_one", 1, tiny(place, workers=2))


def test_bad_input_is_said_at_once_and_not_tried_again(place: Place) -> None:
    params = tiny(place, workers=2)
    Path("images/train/1/05.JPEG").write_bytes(b"no image")
    lines: list[str] = []
    with pytest.raises(InputError, match=r"05\.JPEG"):
        run_training("train_one", 1, params, on_line=lines.append)
    assert not any("restart" in line for line in lines)
    assert sum(line.startswith("error: ") for line in lines) <= 2  # each worker once


def test_a_worker_that_is_told_to_stop_stops_the_run(place: Place) -> None:
    params = tiny(place, workers=2)
    folder = make_job("train_one", 1, params).folder
    lines: list[str] = []
    killer = Killer(folder, [(5, 1)], signal.SIGTERM)
    with pytest.raises(InputError, match="stopped on request"):
        run_training("train_one", 1, params, on_line=lines.append, on_record=killer)
    assert not any("restart" in line for line in lines)
    assert list(folder.glob("state-*"))


def quiet(process: psutil.Process) -> None:
    """Waits until a process computes no more, because it waits for another one."""
    used, since = -1.0, time.monotonic()
    while time.monotonic() - since < 1:
        now = sum(process.cpu_times()[:2])
        if now - used > 0.02:
            used, since = now, time.monotonic()
        time.sleep(0.1)


def test_who_waits_for_a_worker_that_died_before_it_joined_leaves_at_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBCORE_RESTARTS", "0")
    params = tiny(place, workers=2)
    folder = make_job("train_one", 1, params).folder
    left_at: list[float] = []

    def act() -> None:
        late = worker(folder, 1)
        late.suspend()
        quiet(worker(folder, 0))  # joining, which is native code
        late.kill()
        left_at.append(assert_all_leave(folder, 5))

    thread = threading.Thread(target=act)
    thread.start()
    with pytest.raises(InputError, match=r"worker 1 died \(SIGKILL\)"):
        run_training("train_one", 1, params, on_line=lambda line: None)
    thread.join()
    assert left_at


def test_a_worker_that_hangs_when_another_dies_is_ended(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBCORE_RESTARTS", "0")
    params = tiny(place, workers=2)
    folder = make_job("train_one", 1, params).folder
    died: list[float] = []

    def act(record: dict[str, Any]) -> None:
        if not died and record["event"] == "checkpoint":
            worker(folder, 0).suspend()  # as one that waits for a GPU
            worker(folder, 1).kill()
            died.append(time.monotonic())

    with pytest.raises(InputError, match=r"worker 1 died \(SIGKILL\)"):
        run_training("train_one", 1, params, on_line=lambda line: None, on_record=act)
    assert time.monotonic() - died[0] < 20
    assert_all_leave(folder, 1)


def test_without_torchrun_nobody_stays(place: Place) -> None:
    params = tiny(place, workers=4)
    folder = make_job("train_one", 1, params).folder

    def kill(record: dict[str, Any]) -> None:
        for agent in processes(folder, "ebcore.train.agent"):
            agent.kill()

    with pytest.raises(InputError, match="exit code -9"):
        run_training("train_one", 1, params, on_line=lambda line: None, on_record=kill)
    assert_all_leave(folder, 20)
