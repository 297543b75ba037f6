"""`dvc exp run` across expert counts: each ends as an MLflow run of the main checkout."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from flows.work import EXPERIMENT
from tests.flows.small_checkout import Clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def study(finished: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A checkout with one expert count done, and three experiments through three doors."""
    study = finished.copied(tmp_path_factory.mktemp("experiments") / "study")
    study.run("dvc", "exp", "run", "--name", "two", "-S", "experts=[2]")
    study.git("checkout", "--", ".")
    study.run("dvc", "exp", "run", "--temp", "--name", "three", "-S", "experts=[3]")
    study.run("dvc", "exp", "run", "--queue", "--name", "both", "-S", "experts=[1,2]")
    study.run("dvc", "queue", "start")
    deadline = time.monotonic() + 300
    while "Success" not in (status := study.run("dvc", "queue", "status").stdout):
        assert "Failed" not in status, study.run("dvc", "queue", "logs", "both").stdout[-4000:]
        assert time.monotonic() < deadline, status
        time.sleep(2)
    study.run("dvc", "queue", "stop")
    return study


def runs(study: Clone, query: str) -> list[Any]:
    client = study.mlflow()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], query))


def test_each_count_is_a_run_with_its_experiments_name(study: Clone) -> None:
    branches = {run.data.tags["experts"]: run for run in runs(study, "tags.stage = 'branch'")}
    names = {count: run.data.tags.get("dvc_experiment") for count, run in branches.items()}
    assert names == {"1": None, "2": "two", "3": "three"}
    for run in branches.values():
        assert {"packed_top1", "bops", "packed_ms"} <= run.data.metrics.keys()
        assert run.info.status == "FINISHED"


def test_no_work_is_done_twice(study: Clone) -> None:
    for stage in ("prepare", "train_one"):
        assert len(runs(study, f"tags.stage = '{stage}'")) == 1
    trained = [run.data.tags["experts"] for run in runs(study, "tags.stage = 'train_binary'")]
    assert sorted(trained) == ["1", "2", "3"]
    assert len(list((study.folder / ".runs").glob("*/final.safetensors"))) == 1 + 2 * 3


def test_everything_is_kept_in_the_main_checkout(study: Clone) -> None:
    assert not list((study.folder / ".dvc/tmp").rglob("mlflow.db"))
    assert not list((study.folder / ".dvc/tmp").rglob(".runs"))
    artifacts = {run.info.artifact_uri for run in runs(study, "tags.stage = 'train_binary'")}
    assert all(Path(uri.removeprefix("file://")).is_dir() for uri in artifacts)


def test_dvc_shows_the_experiments_figures(study: Clone) -> None:
    table = json.loads(study.run("dvc", "exp", "show", "--json").stdout)
    found: dict[str, set[str]] = {}
    for revision in table:
        for experiment in revision["experiments"] or []:
            metrics = experiment["revs"][0]["data"]["metrics"]
            found[experiment["name"]] = set(metrics)
            assert not any("error" in content for content in metrics.values())
    assert {"two", "three", "both"} <= found.keys()
    assert "metrics/evaluate-3.json" in found["three"]
    assert {"metrics/evaluate-1.json", "metrics/evaluate-2.json"} <= found["both"]
