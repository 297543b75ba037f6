"""A training process that is really killed, and the database that its points go to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from flows.work import EXPERIMENT
from tests.flows.conftest import wait_for
from tests.flows.small_checkout import Clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
STAGE = "train_binary@1"


def test_a_killed_training_ends_as_one_run_with_each_point_once(
    finished: Clone, tmp_path: Path
) -> None:
    clone = finished.copied(tmp_path / "killed")
    content = yaml.safe_load((clone.folder / "params.yaml").read_text())
    content["checkpoint_seconds"] = 0.2
    content["train_binary"]["epochs"] = 6
    (clone.folder / "params.yaml").write_text(yaml.safe_dump(content))
    known = set((clone.folder / ".runs").glob("*/log.jsonl"))
    for least in (20, 60):
        process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", "--single-item", STAGE],
            cwd=clone.folder,
            env={**clone.environment, "PREFECT_API_URL": clone.server},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda least=least: steps_so_far(clone, known) >= least, 120)  # type: ignore[misc]
        kill_all_of(process)
    clone.run("dvc", "repro", "--single-item", STAGE)

    [folder] = [path.parent for path in logs(clone, known)]
    written = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    steps = [record["step"] for record in written if record["event"] == "step"]
    epochs = [record["step"] for record in written if record["event"] == "epoch"]
    client = clone.mlflow()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    query = f"tags.fingerprint = '{folder.name}'"
    [run] = client.search_runs([experiment.experiment_id], query)
    assert run.info.status == "FINISHED"

    def steps_of(key: str) -> list[int]:
        return [point.step for point in client.get_metric_history(run.info.run_id, key)]

    assert steps_of("step_loss") == steps
    assert steps == sorted(set(steps))
    assert steps_of("val_top1") == epochs
    assert len(epochs) == 6
    for key in run.data.metrics:
        assert steps_of(key) == sorted(set(steps_of(key))), key


def logs(clone: Clone, known: set[Path]) -> set[Path]:
    return set((clone.folder / ".runs").glob("*/log.jsonl")) - known


def steps_so_far(clone: Clone, known: set[Path]) -> int:
    for path in logs(clone, known):
        lines = path.read_text().splitlines()[:-1]
        return max((json.loads(line)["step"] for line in lines), default=0)
    return 0


def kill_all_of(process: subprocess.Popen[bytes]) -> None:
    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in tree:
        os.kill(member.pid, signal.SIGKILL)
    psutil.wait_procs(tree, 20)
    process.wait(20)
