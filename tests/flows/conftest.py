"""A small checkout with one toy stage, and a real Prefect server to run it under."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from ebcore.params import Params, load_params
from flows import work
from flows.server import prefect_server
from tests.flows.small_checkout import Clone, make_small_checkout

ROOT = Path(__file__).parents[2]

TOY = '''
"""A stage that prints, logs two steps and writes a file; `mode` says how it misbehaves."""
import json, os, sys, time
from pathlib import Path
import flows  # before Prefect: its settings
from prefect import flow
from ebcore.errors import InputError
from flows.stage import Stage, main, perform

def body(run):
    mode = Path("mode").read_text().strip()
    print("a printed line")
    run.on_line("a worker's line")
    run.on_line("warning: a worker's warning")
    run.on_line(f"EBCORE_FORCE is {os.environ.get('EBCORE_FORCE')}")
    for step in range(1, 6):
        if step == 4 and mode == "wait":
            Path("waiting").touch()
            while not Path("go").exists():
                time.sleep(0.1)
        if step == 4 and mode == "bad input":
            raise InputError("data/toy.png", "is no image", "Remove it.")
        if step == 4 and mode == "bug":
            raise RuntimeError("boom")
        record = {"step": step, "epoch": 0, "time": time.time()}
        run.on_record({"event": "step", "loss": 1 / step, **record})
        run.on_record({"event": "checkpoint", **record})
    Path("metrics").mkdir(exist_ok=True)
    Path("metrics/toy-4.json").write_text(json.dumps({"top1": 97.5}))
    return {"top1": 97.5}

@flow(name="toy", flow_run_name="toy@{experts}", log_prints=True)
def toy(experts: int, force: bool = False):
    return perform(Stage("toy", body, item=experts, experts=experts, parameters=("model",),
                         artifacts=(f"metrics/toy-{experts}.json",)), force)

if __name__ == "__main__":
    main(toy)
'''

DVC_YAML = """
stages:
  toy:
    matrix: {experts: [4]}
    cmd: exec python -m toy
    deps: [mode]
    metrics: [{"metrics/toy-${item.experts}.json": {cache: false}}]
"""


@dataclass(frozen=True)
class Checkout:
    """A folder with git, DVC and a toy stage; commands run in it with this environment."""

    folder: Path

    def environment(self, **settings: str) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PREFECT_HOME": str(self.folder / ".prefect"),
            "PYTHONPATH": str(ROOT),
            **settings,
        }

    def run(self, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            timeout=120,
        )

    def start(self, *command: str, **settings: str) -> subprocess.Popen[str]:
        return subprocess.Popen(command, cwd=self.folder, env=self.environment(**settings))

    def set_mode(self, mode: str) -> None:
        (self.folder / "mode").write_text(mode)


def processes_of(checkout: Checkout) -> list[psutil.Process]:
    """Every process that keeps its Prefect state in this checkout."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT_HOME") == str(checkout.folder / ".prefect"):
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


def wait_for(condition: Callable[[], bool], seconds: float = 60, pause: float = 0.2) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(pause)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return make_checkout(tmp_path / "checkout")


def make_checkout(folder: Path) -> Checkout:
    found = Checkout(folder)
    (found.folder / ".dvc").mkdir(parents=True)
    (found.folder / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (found.folder / "toy.py").write_text(TOY)
    (found.folder / "dvc.yaml").write_text(DVC_YAML)
    (found.folder / "params.yaml").write_text((ROOT / "params/digits.yaml").read_text())
    found.run("git", "init", "--quiet")
    found.set_mode("good")
    return found


@pytest.fixture(scope="session")
def prefect_url() -> Iterator[str]:
    with prefect_server(port=0) as url:
        yield url


@pytest.fixture(scope="session")
def empty_tracker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and nothing in them; making one takes 1 s."""
    path = tmp_path_factory.mktemp("tracker") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def params(empty_tracker: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Params:
    """Those of the profile digits, in a folder with a database and, as it seems, data."""
    shutil.copy(empty_tracker, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(work, "data_hash", lambda: "0123abcd")
    return load_params(ROOT / "params/digits.yaml")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> Clone:
    """A small checkout with the pipeline done for one expert count; tests work on copies."""
    clone = make_small_checkout(tmp_path_factory.mktemp("finished") / "clone", prefect_url, [1])
    clone.output = clone.run("dvc", "repro").stdout
    clone.git("add", ".")
    clone.git("commit", "--quiet", "-m", "Results")
    return clone
