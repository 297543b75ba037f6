"""Hybrid Binary Networks and FTBNN beside EBConv in one pipeline, with real servers."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator

import pytest

from ebcore.files import sha256_file
from ebcore.packed import load
from flows.server import prefect_server
from flows.work import EXPERIMENT
from tests.flows.small_checkout import Clone, make_small_checkout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NETWORKS = ("hybrid_train-0", "ftbnn_binary-baseline-0")
ITEMS = ("baseline-0", "relu-0")
STAGES = {
    *("hybrid_fbin@0", "hybrid_partition@0", "hybrid_train@0", "hybrid_compared@wbin-0"),
    *(f"ftbnn_{step}@{item}" for step in ("real", "binary") for item in ITEMS),
    *(f"{stage}_network@{n}" for stage in ("pack", "evaluate", "benchmark") for n in NETWORKS),
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    folder = tmp_path_factory.mktemp("methods") / "clone"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(folder / ".prefect"))
        with prefect_server(port=0) as server:
            clone = make_small_checkout(folder, server, (2,), methods=True)
            clone.output = clone.run("flows.repro").stdout
            yield clone


def test_dvc_holds_every_result(clone: Clone) -> None:
    assert "up to date" in clone.run("dvc", "status").stdout
    listed = clone.run("dvc", "stage", "list", "--name-only").stdout.split()
    assert set(listed) >= STAGES
    files = json.loads(clone.run("dvc", "metrics", "show", "--json").stdout)[""]["data"]
    for network in NETWORKS:
        assert "packed_top1" in files[f"metrics/evaluate-{network}.json"]["data"]


def test_the_hybrid_has_the_layers_that_the_partition_chose(clone: Clone) -> None:
    found = json.loads((clone.folder / "metrics/hybrid_partition-0.json").read_text())
    packed = load(clone.folder / "packed/hybrid_train-0.ebp")
    assert packed.metadata["model"]["real_inputs"] == found["chosen"]
    with open(clone.folder / "plots/hybrid_partition-0.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["layer"]) for row in rows if row["real_input"] == "1"] == found["chosen"]


def test_mlflow_compares_networks_of_all_methods(clone: Clone) -> None:
    client = clone.mlflow()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    number = experiment.experiment_id
    branches = {
        run.info.run_name: run for run in client.search_runs([number], "tags.stage = 'branch'")
    }
    trained = {"hybrid_fbin-0", "hybrid_compared-wbin-0", "ftbnn_binary-relu-0", *NETWORKS}
    assert set(branches) == {"ebconv N=2", *trained}
    assert {run.data.tags["method"] for run in branches.values()} == {"ebconv", "hybrid", "ftbnn"}
    for name in ("ebconv N=2", *NETWORKS):  # the same columns for every method
        figures = branches[name].data.metrics
        assert {"top1", "packed_top1", "bops", "flops", "file_bytes", "packed_ms"} <= figures.keys()
    for network in NETWORKS:
        run, method = branches[network], network.partition("_")[0]
        evaluated = json.loads((clone.folder / f"metrics/evaluate-{network}.json").read_text())
        assert run.data.metrics["packed_top1"] == evaluated["packed_top1"]
        assert run.data.params["seed"] == "0"
        version = client.get_model_version_by_alias(f"{method}-digits", network)
        assert version.tags["sha256"] == sha256_file(clone.folder / f"packed/{network}.ebp")
    below = client.search_runs(
        [number], f"tags.mlflow.parentRunId = '{branches['hybrid_train-0'].info.run_id}'"
    )
    stages = {run.data.tags["stage"] for run in below}
    assert stages == {"hybrid_partition", "hybrid_train", *(
        f"{stage}_network" for stage in ("pack", "evaluate", "benchmark")
    )}  # fmt: skip
    (partition,) = [run for run in below if run.data.tags["stage"] == "hybrid_partition"]
    kept = {file.path for file in client.list_artifacts(partition.info.run_id)}
    assert kept == {"hybrid_partition-0.json", "hybrid_partition-0.csv"}


def test_a_longer_training_of_a_method_leaves_the_others(clone: Clone) -> None:
    path = clone.folder / "params.yaml"
    before = path.read_text()
    assert before.count("seeds:") == 2
    try:
        done = clone.run("dvc", "status", "--json").stdout
        assert json.loads(done) == {}
        path.write_text(before.replace("share: 0.3", "share: 0.4"))
        changed = set(json.loads(clone.run("dvc", "status", "--json").stdout))
        assert changed == {"hybrid_partition@0", "report"}
    finally:
        path.write_text(before)
