"""dvc.yaml itself: its stages, their order, and what a change of parameters makes run again."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ebcore.params import load_params
from ebcore.workspace import TEACHER

ROOT = Path(__file__).parents[2]
BRANCH = ("replicate", "train_experts", "train_binary", "pack", "benchmark", "evaluate")


def dvc(*arguments: str, folder: Path = ROOT) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """dvc.yaml in a folder of its own, with a file in each place that a stage reads or writes."""
    (tmp_path / ".dvc").mkdir()
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    for name in ("ebcore", "flows"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / TEACHER).mkdir(parents=True)
    shutil.copy(ROOT / TEACHER / "README.md", tmp_path / TEACHER)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    set_params(tmp_path, experts=[1, 2])
    return tmp_path


def set_params(folder: Path, **changes: Any) -> None:
    content = yaml.safe_load((folder / "params.yaml").read_text())
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if name:
            content[section][name] = value
        else:
            content[section] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(content))


def commit_as_done(folder: Path) -> None:
    """Writes stand-ins for every output and has DVC take them for the stages' results."""
    for stage in stages(folder).values():
        for out in (*stage["outs"], *stage.get("metrics", []), *stage.get("plots", [])):
            path = folder / (out if isinstance(out, str) else next(iter(out)))
            path = path if path.suffix else path / "file"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
    dvc("commit", "--force", "--quiet", folder=folder)


def stages(folder: Path) -> dict[str, Any]:
    """Stages with their templates filled in."""
    from dvc.repo import Repo

    with Repo(str(folder)) as repo:
        return {
            stage.name: {"outs": [str(out.def_path) for out in stage.outs], "cmd": stage.cmd}
            for stage in repo.index.stages
        }


def out_of_date(folder: Path) -> set[str]:
    """Stages that `dvc repro` would look into, by name."""
    return set(json.loads(dvc("status", "--json", folder=folder)))


def test_every_stage_has_a_flow_of_its_name() -> None:
    for name, stage in stages(ROOT).items():
        command, module = stage["cmd"].split()[:3], stage["cmd"].split()[3]
        assert command == ["exec", "python", "-m"]  # no shell between DVC and the flow
        base = name.split("@")[0]
        assert module == f"flows.{base}"
        assert getattr(importlib.import_module(module), base).name == base


def test_no_parameter_reaches_a_shell() -> None:
    for path in ("dvc.yaml", "growth/dvc.yaml", "ablation/dvc.yaml"):
        commands = re.findall(r"\bcmd:.*", (ROOT / path).read_text())
        assert commands
        assert all(re.fullmatch(r"cmd: exec python -m flows\.\w+", line) for line in commands)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["$(touch found)", "digits & touch found", "`touch found`"])
def test_a_source_that_is_a_command_is_not_run(pipeline: Path, source: str) -> None:
    set_params(pipeline, data__fetch=[source])
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", "fetch"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {"PATH": path, "PREFECT_HOME": str(pipeline / ".prefect")}
    environment = {**os.environ, **settings}
    done = subprocess.run(command, cwd=pipeline, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"error: params.yaml: data.fetch.0: value '{source}' is not allowed" in done.stderr
    assert not (pipeline / "found").exists()


def test_the_branches_are_the_expert_counts() -> None:
    found = set(stages(ROOT))
    experts = load_params(ROOT / "params.yaml").experts
    expected = {f"{stage}@{count}" for stage in BRANCH for count in experts}
    assert {name for name in found if name.split("@")[0] in BRANCH} == expected
    assert {"prepare", "train_one", "report"} <= found


def test_a_profile_without_a_source_has_no_fetch_stage(pipeline: Path) -> None:
    set_params(pipeline, data__fetch=[])
    assert not any(name.startswith("fetch") for name in stages(pipeline))


def test_a_method_without_seeds_has_no_stages(pipeline: Path) -> None:
    names = {name.split("@")[0] for name in stages(pipeline)}
    others = {"hybrid_fbin", "hybrid_partition", "hybrid_train", "hybrid_compared"}
    others |= {"ftbnn_real", "ftbnn_binary"}
    others |= {f"{stage}_network" for stage in ("pack", "evaluate", "benchmark")}
    assert others <= names
    set_params(pipeline, hybrid__seeds=[], ftbnn__seeds=[], networks=[])
    assert not others & {name.split("@")[0] for name in stages(pipeline)}


def test_a_hybrid_waits_for_its_partition_and_that_for_the_binary_network(pipeline: Path) -> None:
    commit_as_done(pipeline)
    (pipeline / "checkpoints/hybrid_fbin-1.safetensors").write_text("another")
    assert "hybrid_partition@1" in out_of_date(pipeline)
    assert not {"hybrid_partition@0", "hybrid_train@1"} & out_of_date(pipeline)
    commit_as_done(pipeline)
    (pipeline / "metrics/hybrid_partition-1.json").write_text("another")
    assert {"hybrid_train@1"} <= out_of_date(pipeline)
    commit_as_done(pipeline)
    set_params(pipeline, ftbnn__train_real={"epochs": 1, "batch_size": 2, "lr": 0.1})
    first = {name for name in stages(pipeline) if name.startswith("ftbnn_real@")}
    assert out_of_date(pipeline) == {*first, "report"}


def test_the_graph_runs_from_data_to_report() -> None:
    edges = set(dvc("dag", "--mermaid").replace('"', "").split())
    for name in ("fetch@digits", "train_one", "train_binary@4", "evaluate@4", "report"):
        assert any(name in word for word in edges), name


def test_a_teacher_is_a_stage_before_the_steps_it_teaches(pipeline: Path) -> None:
    commit_as_done(pipeline)
    train_one = yaml.safe_load((pipeline / "params.yaml").read_text())["train_one"]
    set_params(pipeline, teacher=["real"], train_real=train_one)
    assert {"train_real@real", "report"} <= out_of_date(pipeline)
    commit_as_done(pipeline)
    set_params(pipeline, train_real__lr=0.5)
    assert out_of_date(pipeline) == {"train_real@real"}
    edges = dvc("dag", "--mermaid", "train_binary@1", folder=pipeline)
    assert "train_real@real" in edges
    (pipeline / TEACHER / "train_real.safetensors").write_text("another")
    taught = {"train_one", "train_experts@1", "train_experts@2"}
    assert taught <= out_of_date(pipeline)


def test_another_expert_count_runs_only_its_branch_and_the_report(pipeline: Path) -> None:
    commit_as_done(pipeline)
    assert out_of_date(pipeline) == set()
    set_params(pipeline, experts=[1, 2, 8])
    assert out_of_date(pipeline) == {f"{stage}@8" for stage in BRANCH} | {"report"}


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({"seed": 1}, "train_one"),
        ({"train_one__lr": 0.5}, "train_one"),
        ({"train_binary__lr": 0.5}, "train_binary@1"),
        ({"benchmark__repeats": 7}, "benchmark@1"),
        ({"report__tsne_samples": 50}, "report"),
    ],
)
def test_a_parameter_concerns_the_stages_that_use_it(
    pipeline: Path, change: dict[str, Any], first: str
) -> None:
    commit_as_done(pipeline)
    set_params(pipeline, **change)
    order = [stage.split("@")[0] for stage in stages(pipeline)]
    changed = out_of_date(pipeline)
    assert first in changed
    assert min(order.index(name.split("@")[0]) for name in changed) == order.index(
        first.split("@")[0]
    )
