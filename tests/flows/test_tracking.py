from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from ebcore.params import Params, load_params
from flows import tracking
from flows.stage import Stage
from flows.tracking import METHOD, Tracker

ROOT = Path(__file__).parents[2]


@pytest.fixture
def params(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Params:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tracking, "_data_hash", lambda: "0123abcd")
    return load_params(ROOT / "params/digits.yaml")


def stage(experts: int = 4) -> Stage:
    return Stage(
        "toy",
        lambda run: None,
        item=experts,
        experts=experts,
        parameters=("model",),
        artifacts=("metrics/toy.json",),
    )


def client() -> MlflowClient:
    return MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")


def found(**tags: str) -> list[Any]:
    """Runs with these tags, the newest first."""
    experiment = client().get_experiment_by_name(METHOD)
    query = " and ".join(f"tags.{key} = '{value}'" for key, value in tags.items())
    return list(client().search_runs([experiment.experiment_id], query))


def points(run: Any, key: str) -> list[tuple[int, float]]:
    return [(p.step, p.value) for p in client().get_metric_history(run.info.run_id, key)]


def record(event: str, step: int, **values: float) -> dict[str, Any]:
    return {"event": event, "step": step, "epoch": 0, "time": time.time(), **values}


def train(tracker: Tracker, steps: Iterable[int]) -> None:
    """Steps with the loss 1 / step, a checkpoint after each second one."""
    for step in steps:
        tracker.record(record("step", step, loss=1 / step))
        if step % 2 == 0:
            tracker.record(record("checkpoint", step))


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


def test_expert_counts_are_runs_side_by_side(params: Params) -> None:
    for experts in (1, 2):
        with Tracker(stage(experts), params) as tracker:
            tracker.finish({"top1": 90.0 + experts})
    assert {run.data.tags["experts"]: run.data.metrics["top1"] for run in found(stage="toy")} == {
        "1": 91.0,
        "2": 92.0,
    }


def test_a_tracker_that_is_down_costs_a_warning(
    params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with Tracker(stage(), params) as tracker:
        train(tracker, range(1, 5))
        tracker.finish({"top1": 97.5})
    warnings = capsys.readouterr().out.splitlines()
    assert len(warnings) == 1
    assert warnings[0].startswith(
        "warning: MLflow at http://127.0.0.1:9 failed, its points are kept"
    )
