"""The run's log."""

from pathlib import Path

import pytest

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


def test_a_tail_follows_a_run_whose_workers_are_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunLog(tmp_path, 0, 0).close()
    numbers = iter([7, 8, 7])  # a file system gives a number again once its file is gone
    number = [next(numbers)]
    monkeypatch.setattr(LogTail, "_current_inode", lambda self: number[0])
    tail = LogTail(tmp_path)
    for loss in (1.0, 2.0):
        number[0] = next(numbers)
        log = RunLog(tmp_path, 0, 0)
        log.write("step", 10, 0, loss=loss)
        log.close()
        assert [r["loss"] for r in tail.new()] == [loss]
