from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ebcore.params import Params
from flows.stage import Stage
from flows.tracking import Tracker
from tests.flows.tracked import ROOT, client, found, points, stage

PACK = {"bops": 4e6, "flops": 6e5, "file_bytes": 3e5, "ratio": 18.5, "real_parameters": 9.0}
EVALUATE = {"packed_top1": 97.5, "packed_top5": 100.0, "gate_entropy": 1.25, "images": 360.0}
BENCHMARK = {"packed_ms": 0.05, "torch_fp32_ms": 2.0, "speedup_torch_fp32": 40.0, "threads": 1.0}
TABLE = {  # what the run of a branch shows
    "bops": 4e6,
    "flops": 6e5,
    "file_bytes": 3e5,
    "ratio": 18.5,
    "packed_top1": 97.5,
    "packed_top5": 100.0,
    "gate_entropy": 1.25,
    "packed_ms": 0.05,
    "torch_fp32_ms": 2.0,
    "speedup_torch_fp32": 40.0,
}
ONE_OF_SEVERAL = """
import sys
import flows
from flows.tracking import Tracker
from flows import work
from ebcore.params import load_params
from tests.flows.tracked import stage
work.data_hash = lambda: "0123abcd"
with Tracker(stage(name=sys.argv[1]), load_params(sys.argv[2])) as tracker:
    tracker.finish({"top1": 97.5})
"""


def run_stage(params: Params, name: str, metrics: dict[str, float], experts: int = 4) -> None:
    Path("metrics").mkdir(exist_ok=True)
    Path(f"metrics/{name}-{experts}.json").write_text(json.dumps(metrics))
    with Tracker(stage(experts, name), params) as tracker:
        tracker.finish(metrics)


def test_an_expert_counts_stages_are_below_one_run_with_what_to_compare(params: Params) -> None:
    for experts in (1, 4):
        run_stage(params, "pack", PACK, experts)
        run_stage(params, "benchmark", BENCHMARK, experts)
    four, one = found(stage="branch")
    assert [run.info.run_name for run in (one, four)] == ["ebconv N=1", "ebconv N=4"]
    assert [run.data.tags["experts"] for run in (one, four)] == ["1", "4"]
    assert four.data.metrics == {k: v for k, v in TABLE.items() if k in PACK or k in BENCHMARK}
    assert four.data.params["train_binary.epochs"] == str(params.train_binary.epochs)
    assert four.info.status == "FINISHED"
    for name in ("pack", "benchmark"):
        [run] = found(stage=name, experts="4")
        assert run.data.tags["mlflow.parentRunId"] == four.info.run_id


def test_figures_that_change_are_points_and_others_are_not(params: Params) -> None:
    run_stage(params, "pack", PACK)
    run_stage(params, "pack", {**PACK, "file_bytes": 2e5})
    [branch] = found(stage="branch")
    assert points(branch, "file_bytes") == [(0, 3e5), (1, 2e5)]
    assert points(branch, "bops") == [(0, 4e6)]
    assert branch.data.metrics["file_bytes"] == 2e5
    new, old = found(stage="pack")
    assert old.data.tags["superseded"] == new.info.run_id


def test_other_parameters_or_data_are_another_branch_but_not_other_repeats(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(section: str, **values: object) -> Params:
        part = getattr(params, section).model_copy(update=values)
        return params.model_copy(update={section: part})

    run_stage(params, "pack", PACK)
    run_stage(changed("benchmark", repeats=99), "benchmark", BENCHMARK)
    assert len(found(stage="branch")) == 1
    run_stage(changed("train_binary", lr=0.5), "pack", PACK)
    assert len(found(stage="branch")) == 2
    monkeypatch.setattr("flows.work.data_hash", lambda: "other")
    run_stage(params, "pack", PACK)
    assert len(found(stage="branch")) == 3


def test_the_report_fills_in_what_did_not_run_again(params: Params) -> None:
    """A change that alters no result starts a branch whose later stages DVC leaves out."""
    network = "ftbnn_binary-relu-0"
    params = params.model_copy(update={"networks": [network]})
    Path("metrics").mkdir()
    for item in (*params.experts, network):
        for name, metrics in (("pack", PACK), ("evaluate", EVALUATE), ("benchmark", BENCHMARK)):
            Path(f"metrics/{name}-{item}.json").write_text(json.dumps(metrics))
    with Tracker(Stage("report", lambda run: None), params) as tracker:
        tracker.finish({})
    branches = found(stage="branch")
    names = {run.info.run_name for run in branches}
    assert names == {"ebconv N=1", "ebconv N=2", "ebconv N=4", network}
    assert all(run.data.metrics == TABLE for run in branches)
    assert {run.info.status for run in branches} == {"FINISHED"}


@pytest.mark.parametrize("kind", ["shared", "study"])
def test_stages_of_no_branch_have_no_run_above(params: Params, kind: str) -> None:
    shared = Stage("prepare", lambda run: None)
    study = Stage("growth", lambda run: None, item="a", experts=2, folder="growth")
    with Tracker(shared if kind == "shared" else study, params) as tracker:
        tracker.finish({})
    assert found(stage="branch") == []
    [run] = found(method="ebconv")
    assert "mlflow.parentRunId" not in run.data.tags


def test_an_experiments_name_is_a_tag(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "wide-gown")
    run_stage(params, "pack", PACK)
    for name in ("branch", "pack"):
        [run] = found(stage=name)
        assert run.data.tags["dvc_experiment"] == "wide-gown"


@pytest.mark.slow
def test_stages_that_start_at_once_share_the_run_above(tmp_path: Path) -> None:
    """Four processes, and no database yet."""
    names = [f"stage{index}" for index in range(4)]
    script = tmp_path / "one_of_several.py"
    script.write_text(ONE_OF_SEVERAL)
    several = [
        subprocess.Popen(
            [sys.executable, str(script), name, str(ROOT / "params/digits.yaml")],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in names
    ]
    outputs = [process.communicate(timeout=240)[0] for process in several]
    assert [process.returncode for process in several] == [0] * 4, outputs
    assert not any("warning" in output for output in outputs), outputs
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    [branch] = found(uri, stage="branch")
    children = [run for name in names for run in found(uri, stage=name)]
    assert len(children) == 4
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {branch.info.run_id}
    assert len(client(uri).search_experiments(filter_string="name = 'ebconv'")) == 1
