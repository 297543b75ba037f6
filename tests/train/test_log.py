"""The run's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebcore.errors import InputError
from ebcore.train import log as log_module
from ebcore.train.log import LogTail, RunLog, read_log


def test_a_resumed_log_forgets_what_is_done_again(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0, 0)
    for step in (10, 20):
        log.write("step", step, 0, loss=1.0)
    log.write("epoch", 20, 1, loss=1.0)  # comes after the state of step 20
    log.write("step", 30, 1, loss=1.0)
    log.close()
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"event": "step", "st')  # cut short by a kill
    log = RunLog(tmp_path, 20, 0)
    log.write("step", 30, 0, loss=2.0)
    log.close()
    assert [(r["step"], r["loss"]) for r in read_log(tmp_path)] == [(10, 1), (20, 1), (30, 2)]


def test_a_tail_passes_over_an_earlier_run_and_follows_the_new_one(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0, 0)
    log.write("step", 1, 0)
    tail = LogTail(tmp_path)
    assert tail.new() == []
    log.close()
    log = RunLog(tmp_path, 0, 0)
    log.write("step", 5, 0)
    assert [r["step"] for r in tail.new()] == [5]
    log.write("step", 6, 0)
    log.write("epoch", 6, 1)
    assert [r["event"] for r in tail.new()] == ["step", "epoch"]
    assert tail.new() == []
    log.close()


@pytest.mark.parametrize(
    "damage", ["\0" * 40, '{"step": 4, "epoch"', "[1]", '{"stup": 4}', "\udcff"]
)
def test_a_damaged_line_costs_no_other(tmp_path: Path, damage: str) -> None:
    log = RunLog(tmp_path, 0, 0)
    log.write("step", 1, 0)
    with open(tmp_path / "log.jsonl", "a", errors="surrogateescape") as file:
        file.write(f"{damage}\n")
    log.write("step", 2, 0)
    log.close()
    assert [r["step"] for r in read_log(tmp_path)] == [1, 2]
    RunLog(tmp_path, 2, 0).close()
    assert [r["step"] for r in read_log(tmp_path)] == [1, 2]


def test_a_full_disk_is_reported_with_the_file(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0, 0)
    log.write("step", 1, 0)
    log.close()
    log._file = open("/dev/full", "w")  # noqa: SIM115
    with pytest.raises(InputError, match=r"log\.jsonl: cannot be written \(No space left .*Free"):
        log.write("step", 2, 0)
    with pytest.raises(OSError, match="No space left"):
        log.close()  # what it could not write
    assert [r["step"] for r in read_log(tmp_path)] == [1]


def test_a_tail_follows_a_run_whose_workers_are_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunLog(tmp_path, 0, 0).close()
    numbers = iter([7, 8, 7])  # a file system gives a number again once its file is gone
    number = [next(numbers)]
    tail = LogTail(tmp_path)
    tail._old = tail._inode = number[0]
    monkeypatch.setattr(log_module, "_inode", lambda file: number[0])
    for loss in (1.0, 2.0):
        number[0] = next(numbers)
        log = RunLog(tmp_path, 0, 0)
        log.write("step", 10, 0, loss=loss)
        log.close()
        assert [r["loss"] for r in tail.new()] == [loss]
