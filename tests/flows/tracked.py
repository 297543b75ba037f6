"""Toy stages for the tests of tracking, and questions to the database they write."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from flows.stage import Stage
from flows.tracking import Tracker
from flows.work import EXPERIMENT

ROOT = Path(__file__).parents[2]


def stage(experts: int = 4, name: str = "toy", **values: Any) -> Stage:
    """A stage of one branch with one small file."""
    return Stage(
        name,
        lambda run: None,
        item=experts,
        experts=experts,
        parameters=("model",),
        artifacts=(f"metrics/{name}.json",),
        **values,
    )


def record(event: str, step: int, **values: float) -> dict[str, Any]:
    return {"event": event, "step": step, "epoch": 0, "time": time.time(), **values}


def train(tracker: Tracker, steps: Iterable[int]) -> None:
    """Steps with the loss 1 / step, a checkpoint after each second one."""
    for step in steps:
        tracker.record(record("step", step, loss=1 / step))
        if step % 2 == 0:
            tracker.record(record("checkpoint", step))


def client(uri: str | None = None) -> MlflowClient:
    uri = uri or f"sqlite:///{Path.cwd() / 'mlflow.db'}"
    return MlflowClient(uri, registry_uri=uri)


def found(uri: str | None = None, **tags: str) -> list[Any]:
    """Runs with these tags, the newest first."""
    experiment = client(uri).get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    query = " and ".join(f"tags.{key} = '{value}'" for key, value in tags.items())
    return list(client(uri).search_runs([experiment.experiment_id], query))


def points(run: Any, key: str, uri: str | None = None) -> list[tuple[int, float]]:
    return [(p.step, p.value) for p in client(uri).get_metric_history(run.info.run_id, key)]
