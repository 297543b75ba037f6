from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ebcore.params import Params
from ebcore.train.launch import FORCE
from flows import outbox, work
from flows.mask import mask
from flows.tracking import Tracker
from tests.flows.tracked import client, found, points, record, stage, train

DOWN = "http://user:secret@127.0.0.1:9"


def test_a_stage_becomes_a_finished_run_with_everything(params: Params) -> None:
    Path("metrics").mkdir()
    Path("metrics/toy.json").write_text("{}")
    with Tracker(stage(), params) as tracker:
        tracker.record(record("start", 0, steps=4))
        train(tracker, range(1, 5))
        tracker.finish({"top1": 97.5})
    [run] = found(method="ebconv", stage="toy", experts="4", dvc_stage="toy@4", profile="digits")
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "toy@4"
    assert run.data.tags["data_sha256"] == "0123abcd"
    assert run.data.params["model.spec"] == params.model.spec
    assert run.data.params["data.image_size"] == "16"
    assert run.data.params["experts"] == "4"
    assert set(run.data.metrics) == {"step_loss", "top1"}
    assert points(run, "step_loss") == [(step, 1 / step) for step in range(1, 5)]
    assert points(run, "top1") == [(4, 97.5)]
    assert [file.path for file in client().list_artifacts(run.info.run_id)] == ["toy.json"]


def test_a_killed_stage_goes_on_in_its_run_without_double_points(params: Params) -> None:
    with pytest.raises(KeyboardInterrupt), Tracker(stage(), params) as tracker:
        train(tracker, range(1, 6))
        raise KeyboardInterrupt
    [run] = found(stage="toy")
    assert run.info.status == "KILLED"

    with Tracker(stage(), params) as tracker:
        train(tracker, range(3, 9))  # from the checkpoint at 2: steps 3 to 5 come again
        tracker.finish({"top1": 97.5})
    [again] = found(stage="toy")
    assert again.info.run_id == run.info.run_id
    assert again.info.status == "FINISHED"
    assert points(again, "step_loss") == [(step, 1 / step) for step in range(1, 9)]


def test_restarted_workers_add_no_double_points(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # down: all points wait
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with Tracker(stage(), params) as tracker:
        tracker.record(record("start", 0))
        train(tracker, range(1, 6))
        # a worker died: the log begins again, with what the checkpoint holds
        tracker.record(record("start", 0))
        train(tracker, range(1, 5))
        tracker.record(record("start", 4))
        time.sleep(0.01)  # so that step 5 is another point, not the same again
        train(tracker, range(5, 9))
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        tracker.finish({"top1": 97.5})
    [run] = found(stage="toy")
    assert points(run, "step_loss") == [(step, 1 / step) for step in range(1, 9)]


def test_finished_work_done_anew_supersedes_its_run(params: Params) -> None:
    for _ in range(2):
        with Tracker(stage(), params) as tracker:
            tracker.finish({"top1": 97.5})
    new, old = found(stage="toy")
    assert old.data.tags["superseded"] == new.info.run_id
    assert "superseded" not in new.data.tags


def test_trained_work_that_is_published_again_stays_one_run(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_fingerprint", lambda stage, params: "abcd")
    monkeypatch.delenv(FORCE, raising=False)
    for _ in range(2):  # the second time its log is read from the run directory
        with Tracker(stage(name="train_binary", trains=True), params) as tracker:
            train(tracker, range(1, 5))
            tracker.finish({"top1": 97.5})
    [run] = found(stage="train_binary")
    assert run.info.status == "FINISHED"
    assert points(run, "step_loss") == [(step, 1 / step) for step in range(1, 5)]
    assert points(run, "top1") == [(4, 97.5)]
    monkeypatch.setenv(FORCE, "1")
    with Tracker(stage(name="train_binary", trains=True), params) as tracker:
        train(tracker, range(1, 5))
    new, old = found(stage="train_binary")
    assert old.data.tags["superseded"] == new.info.run_id
    assert points(new, "step_loss") == [(step, 1 / step) for step in range(1, 5)]


def test_expert_counts_are_runs_side_by_side(params: Params) -> None:
    for experts in (1, 2):
        with Tracker(stage(experts), params) as tracker:
            tracker.finish({"top1": 90.0 + experts})
    assert {run.data.tags["experts"]: run.data.metrics["top1"] for run in found(stage="toy")} == {
        "1": 91.0,
        "2": 92.0,
    }


def test_a_tracker_that_is_down_costs_two_warnings_without_its_password(
    params: Params, down: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with Tracker(stage(), params) as tracker:
        train(tracker, range(1, 5))
        tracker.finish({"top1": 97.5})
    output = capsys.readouterr()
    first, last = output.out.splitlines()
    assert first.startswith("warning: MLflow at http://***@127.0.0.1:9 failed, its points are kept")
    assert last.startswith("warning: MLflow has missed toy@4; its points are in ")
    assert "`make sync`" in last
    assert "secret" not in output.out + output.err


def test_the_next_stage_sends_what_an_earlier_one_could_not(
    params: Params,
    down: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("metrics").mkdir()
    Path("metrics/toy.json").write_text("then")
    with Tracker(stage(), params) as tracker:
        train(tracker, range(1, 5))
        tracker.finish({"top1": 97.5})
    Path("metrics/toy.json").write_text("now")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with Tracker(stage(name="next"), params) as tracker:
        tracker.finish({"top1": 98.0})
    [run] = found(stage="toy")
    assert run.info.status == "FINISHED"
    assert points(run, "step_loss") == [(step, 1 / step) for step in range(1, 5)]
    assert points(run, "top1") == [(4, 97.5)]
    path = client().download_artifacts(run.info.run_id, "toy.json", str(Path.cwd()))
    assert Path(path).read_text() == "then"
    assert found(stage="next")
    assert "MLflow has toy@4 now" in capsys.readouterr().out
    assert not list(Path(".runs/outbox").iterdir())


def test_a_stage_that_failed_without_a_tracker_goes_on_in_one_run(
    params: Params, down: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt), Tracker(stage(), params) as tracker:
        train(tracker, range(1, 6))
        raise KeyboardInterrupt
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with Tracker(stage(), params) as tracker:
        train(tracker, range(3, 9))
        tracker.finish({"top1": 97.5})
    [run] = found(stage="toy")
    assert run.info.status == "FINISHED"
    assert points(run, "step_loss") == [(step, 1 / step) for step in range(1, 9)]


def test_sync_sends_at_once_and_a_damaged_entry_holds_nothing_up(
    params: Params,
    down: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert outbox.main() == 0
    assert "missed nothing" in capsys.readouterr().out
    for experts in (1, 2):
        with Tracker(stage(experts), params) as tracker:
            train(tracker, range(1, 5))
    with pytest.raises(SystemExit) as refused:
        outbox.main()
    assert refused.value.code == 2
    assert capsys.readouterr().err.startswith("error: http://***@127.0.0.1:9: no MLflow answers")
    broken, _ = sorted(Path(".runs/outbox").iterdir())
    (broken / "run.json").write_text(json.dumps({"work": {}}))
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert outbox.main() == 1
    assert f"{broken.name} was not sent" in capsys.readouterr().out
    assert [run.data.tags["experts"] for run in found(stage="toy")] == ["2"]
    assert list(Path(".runs/outbox").iterdir()) == [broken]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("at https://me:secret@host:5000/api failed", "at https://***@host:5000/api failed"),
        ("postgresql://me:p@ss@db/mlflow", "postgresql://***@db/mlflow"),
        ("https://token@host", "https://***@host"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("http://host/a@b", "http://host/a@b"),
    ],
)
def test_the_user_and_password_of_an_address_are_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.fixture
def down(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DOWN)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
