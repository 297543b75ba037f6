from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest

from ebcore.files import sha256_file
from ebcore.params import Params
from flows.tracking import Tracker
from flows.ui import mlflow_server
from tests.flows.tracked import client, found, stage

FIGURES = {"top1": 97.5, "bops": 4e6, "flops": 6e5, "bytes": 7.0}


def evaluate(params: Params, content: bytes, experts: int = 4, top1: float = 97.5) -> None:
    """The stage `evaluate`, as far as MLflow sees it."""
    for folder in ("packed", "metrics"):
        Path(folder).mkdir(exist_ok=True)
    Path(f"packed/ebconv-{experts}.ebp").write_bytes(content)
    figures = {"bops": 4e6, "flops": 6e5, "file_bytes": len(content)}
    Path(f"metrics/pack-{experts}.json").write_text(json.dumps(figures))
    metrics = {"packed_top1": top1}
    Path(f"metrics/evaluate-{experts}.json").write_text(json.dumps(metrics))
    with Tracker(stage(experts, "evaluate"), params) as tracker:
        tracker.finish(metrics)


def versions(uri: str | None = None) -> list[Any]:
    """The oldest first."""
    found = client(uri).search_model_versions("name = 'ebconv-digits'")
    return sorted(found, key=lambda version: int(version.version))


def newest(experts: int, uri: str | None = None) -> int:
    return int(client(uri).get_model_version_by_alias("ebconv-digits", f"n{experts}").version)


def downloaded(experts: int, uri: str) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        folder = mlflow.artifacts.download_artifacts(f"models:/ebconv-digits@n{experts}")
    return (Path(folder) / f"ebconv-{experts}.ebp").read_bytes()


def test_an_evaluated_file_becomes_a_version_with_its_figures(params: Params) -> None:
    evaluate(params, b"network")
    [version] = versions()
    assert version.tags["experts"] == "4"
    assert version.tags["sha256"] == sha256_file("packed/ebconv-4.ebp")
    assert {key: float(version.tags[key]) for key in FIGURES} == FIGURES
    [run] = found(stage="evaluate")
    assert version.run_id == run.info.run_id
    assert newest(4) == 1
    assert downloaded(4, f"sqlite:///{Path.cwd() / 'mlflow.db'}") == b"network"
    [model] = client().search_logged_models([run.info.experiment_id])
    assert {metric.key: metric.value for metric in model.metrics} == FIGURES


def test_the_same_file_is_registered_once(params: Params) -> None:
    evaluate(params, b"network")
    evaluate(params, b"network", top1=98.0)
    [version] = versions()
    assert version.tags["top1"] == "98"


def test_an_alias_follows_the_file_of_each_expert_count(params: Params) -> None:
    evaluate(params, b"first")
    evaluate(params, b"another count", experts=2)
    evaluate(params, b"second")
    assert [int(version.version) for version in versions()] == [1, 2, 3]
    assert (newest(2), newest(4)) == (2, 3)
    evaluate(params, b"first")  # e.g. an older commit, checked out
    assert len(versions()) == 3
    assert newest(4) == 1


def test_a_file_that_waited_is_registered_as_it_was(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    evaluate(params, b"then")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    evaluate(params, b"now")
    assert [version.tags["sha256"][:8] for version in versions()] == [
        "21af6f12",  # sha256sum of "then"
        "ed5eb9a3",
    ]
    assert newest(4) == 2


@pytest.mark.slow
def test_a_server_takes_the_same(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(Path.cwd() / ".prefect"))
    with mlflow_server(port=0) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        evaluate(params, b"network")
        evaluate(params, b"network")
        [version] = versions(uri)
        assert version.tags["bops"] == "4000000"
        assert newest(4, uri) == 1
        assert downloaded(4, uri) == b"network"
