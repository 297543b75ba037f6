"""The whole pipeline in a small clone: two expert counts, one epoch a step, real servers."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.settings import PREFECT_API_URL, temporary_settings

from ebcore.files import sha256_file
from flows.server import prefect_server
from flows.ui import mlflow_server
from flows.work import EXPERIMENT
from tests.browser import keep_screenshot, open_page
from tests.flows.small_checkout import Clone, make_small_checkout

EXPERTS = (1, 2)
BRANCH = ("replicate", "train_experts", "train_binary", "pack", "benchmark", "evaluate")
STAGES = {f"{stage}@{experts}" for stage in BRANCH for experts in EXPERTS} | {
    *("fetch@digits", "prepare", "train_one", "report")
}
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    folder = tmp_path_factory.mktemp("pipeline") / "clone"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(folder / ".prefect"))  # no runs of other tests
        with prefect_server(port=0) as server:
            clone = make_small_checkout(folder, server, EXPERTS)
            clone.output = clone.run("flows.repro").stdout
            yield clone


def test_it_says_where_the_report_is(clone: Clone) -> None:
    report = clone.folder / "report/index.html"
    assert f"Report:   {report}" in clone.output
    page = report.read_text()
    assert "<html" in page
    summary = json.loads((clone.folder / "report/summary.json").read_text())
    assert [branch["experts"] for branch in summary["branches"]] == list(EXPERTS)


def test_dvc_holds_every_result(clone: Clone) -> None:
    assert "up to date" in clone.run("dvc", "status").stdout
    metrics = json.loads(clone.run("dvc", "metrics", "show", "--json").stdout)
    files = metrics[""]["data"]
    for experts in EXPERTS:
        assert "top1" in files[f"metrics/train_binary-{experts}.json"]["data"]
        assert "packed_top1" in files[f"metrics/evaluate-{experts}.json"]["data"]
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all"],
        cwd=clone.folder,
        capture_output=True,
        text=True,
    ).stdout.split()[1::2]
    assert {Path(name).parts[0] for name in changed} == {"dvc.lock", "metrics", "plots"}


def test_a_second_run_starts_nothing(clone: Clone) -> None:
    start = time.monotonic()
    done = clone.run("flows.repro")
    assert time.monotonic() - start < 15
    assert "Every stage is up to date." in done.stdout
    assert "Running stage" not in done.stdout


def test_prefect_shows_every_stage_completed_with_its_log(clone: Clone) -> None:
    here = temporary_settings({PREFECT_API_URL: clone.server})
    with here, get_client(sync_client=True) as client:
        runs = client.read_flow_runs()
        logs = {run.id: client.read_logs(only_of(run.id)) for run in runs}
    assert {run.name for run in runs} == STAGES
    assert {run.state_name for run in runs} == {"Completed"}
    assert all(logs.values())
    epoch = "epoch 1/1: loss"
    trained = {run.name for run in runs if any(epoch in log.message for log in logs[run.id])}
    assert trained == {name for name in STAGES if name.startswith("train")}


def only_of(run: UUID) -> LogFilter:
    return LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))


def test_mlflow_holds_a_finished_run_per_stage_and_expert_count(clone: Clone) -> None:
    client = clone.mlflow()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.stage != 'branch'")
    assert {run.data.tags["dvc_stage"] for run in runs} == STAGES
    assert len(runs) == len(STAGES)
    assert {run.info.status for run in runs} == {"FINISHED"}
    found = client.search_runs([experiment.experiment_id], "tags.stage = 'train_binary'")
    assert {run.data.tags["experts"] for run in found} == {str(count) for count in EXPERTS}
    for run in found:
        curve = client.get_metric_history(run.info.run_id, "val_top1")
        assert [point.step for point in curve] == [run_length(clone)]
        assert run.data.params["train_binary.epochs"] == "1"
        assert len(run.data.tags["data_sha256"]) == 64
        kept = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert kept == {f"{run.info.run_name.replace('@', '-')}.{kind}" for kind in ("json", "csv")}


def test_mlflow_compares_the_expert_counts(clone: Clone) -> None:
    client = clone.mlflow()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    branches = client.search_runs([experiment.experiment_id], "tags.stage = 'branch'")
    assert {run.data.tags["experts"] for run in branches} == {str(count) for count in EXPERTS}
    for run in branches:
        experts = run.data.tags["experts"]
        metrics = {
            name: json.loads((clone.folder / f"metrics/{name}-{experts}.json").read_text())
            for name in ("pack", "evaluate", "benchmark")
        }
        assert run.info.status == "FINISHED"
        assert run.data.metrics["packed_top1"] == metrics["evaluate"]["packed_top1"]
        assert run.data.metrics["bops"] == metrics["pack"]["bops"]
        assert run.data.metrics["packed_ms"] == metrics["benchmark"]["packed_ms"]
        below = client.search_runs(
            [experiment.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'"
        )
        assert {child.data.tags["stage"] for child in below} == set(BRANCH)
        version = client.get_model_version_by_alias("ebconv-digits", f"n{experts}")
        packed = clone.folder / f"packed/ebconv-{experts}.ebp"
        assert version.tags["sha256"] == sha256_file(packed)
        assert float(version.tags["top1"]) == pytest.approx(run.data.metrics["packed_top1"])


def test_mlflow_shows_what_the_gates_chose(clone: Clone) -> None:
    client = clone.mlflow()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.dvc_stage = 'train_binary@2'")
    metrics = runs[0].data.metrics
    first = "gate/stages.0.0.0.conv"
    shares = [metrics[f"{first}/expert_{expert}"] for expert in range(2)]
    assert sum(shares) == pytest.approx(1)
    assert 0 <= metrics[f"{first}/usage_entropy"] <= 1
    assert 0 <= metrics[f"val_{first}/choice_entropy"] <= 1
    assert metrics["step_images_per_second"] > 0 and metrics["images_per_second"] > 0
    assert 0 <= metrics["data_wait"] < 1


def run_length(clone: Clone) -> int:
    """Steps of one epoch: whole batches of the training images."""
    manifest = json.loads((clone.folder / "data/beton/manifest.json").read_text())
    return int(manifest["splits"]["train"]["count"]) // 64


@pytest.mark.slow
@pytest.mark.browser
def test_both_pages_show_the_runs(clone: Clone) -> None:
    tracker = f"sqlite:///{clone.folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch, open_page() as page:
        patch.setenv("MLFLOW_TRACKING_URI", tracker)
        page.goto(f"{clone.server.removesuffix('/api')}/runs")
        for name in ("train_binary@2", "report"):
            page.get_by_text(name, exact=True).first.wait_for()
        page.get_by_text("Completed", exact=True).first.wait_for()
        keep_screenshot(page, "pipeline-prefect")
        experiment = clone.mlflow().get_experiment_by_name(EXPERIMENT)
        assert experiment is not None
        with mlflow_server(port=0) as mlflow:
            page.goto(f"{mlflow}/#/experiments/{experiment.experiment_id}/runs")
            for name in ("train_binary@1", "train_binary@2"):
                page.get_by_text(name, exact=True).first.wait_for()
            keep_screenshot(page, "pipeline-mlflow")


def with_params(clone: Clone, **data: object) -> subprocess.CompletedProcess[str]:
    """`make repro` with other values in the section `data`, which come back afterwards."""
    path = clone.folder / "params.yaml"
    before = path.read_text()
    content = yaml.safe_load(before)
    content["data"] |= data
    path.write_text(yaml.safe_dump(content))
    try:
        return clone.run("flows.repro", fails=True)
    finally:
        path.write_text(before)


def test_a_bad_parameter_ends_in_one_line(clone: Clone) -> None:
    done = with_params(clone, image_size=-1)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: params.yaml: data.image_size: value -1")


def test_a_missing_folder_ends_in_one_line(clone: Clone) -> None:
    done = with_params(clone, fetch=[], folder="data/none")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: data/none: no such folder. ")


def test_a_failing_stage_has_the_last_line(clone: Clone) -> None:
    mine = clone.folder / "data/mine"
    shutil.copytree(clone.folder / "data/raw/digits", mine)
    broken = next((mine / "train").rglob("*.JPEG"))
    broken.write_bytes(b"no image")
    done = with_params(clone, fetch=[], folder="data/mine")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ") and broken.name in last
    assert not (clone.folder / "data/beton/manifest.json").exists()
