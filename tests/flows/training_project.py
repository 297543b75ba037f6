"""A checkout with one tiny training stage, and a run of it that can be taken apart."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from ebcore.data.convert import convert
from ebcore.params import parse_params
from tests.flows.conftest import ROOT, Checkout, make_checkout, wait_for
from tests.train.conftest import write_bands

MARK = "EBCORE_TEST_MARK"  # in the environment of all that a run starts
LEAVE = 20.0  # s within which nothing of a run may be left
PATIENCE = 400.0  # s for a run to start, or to end, on a busy machine
STEPS = 200  # 20 epochs of 120 images, 12 a step
OUTPUT = Path("checkpoints/train_one.safetensors")
ROLES = ("dvc", "flow", "torchrun", "worker 0", "worker 1")

DVC_YAML = """
stages:
  train_one:
    cmd: exec python -m flows.train_one
    deps: [data/beton]
    params: [seed, workers, device, amp, data, model, train_one]
    outs: [checkpoints/train_one.safetensors]
    metrics: [{metrics/train_one.json: {cache: false}}]
    plots: [{plots/train_one.csv: {cache: false}}]
"""


@dataclass(frozen=True)
class Project(Checkout):
    """A checkout that trains for 200 steps on 2 workers."""

    def copy(self, folder: Path) -> Project:
        """The same work in another folder."""
        shutil.copytree(self.folder, folder)
        return Project(folder)

    @property
    def run_directory(self) -> Path | None:
        """`.runs/<fingerprint>`, once it is there."""
        return next((path.parent for path in self.folder.glob(".runs/*/job.json")), None)

    def records(self) -> list[dict[str, Any]]:
        """The whole records of the run's log."""
        try:
            text = next(self.folder.glob(".runs/*/log.jsonl")).read_text()
        except (StopIteration, FileNotFoundError):
            return []
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def step(self) -> int:
        """The last step that the log tells of."""
        records = self.records()
        return int(records[-1]["step"]) if records else 0

    def output(self) -> bytes:
        return (self.folder / OUTPUT).read_bytes()

    def states(self) -> list[Path]:
        return sorted(self.folder.glob(".runs/*/state-*.safetensors"))

    def forget(self) -> None:
        """As if it had never been trained."""
        for name in (".runs", ".dvc/cache", "checkpoints", "dvc.lock"):
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    @contextmanager
    def repro(self, *command: str, **settings: str) -> Iterator[Run]:
        """Starts `dvc repro`, or another command; kills what is left of it after the block."""
        mark = uuid.uuid4().hex
        settings = {MARK: mark, "EBCORE_RESTARTS": "0", **settings}
        with open(self.folder / "output", "ab") as output:
            begin = output.tell()
            process = subprocess.Popen(
                command or ("dvc", "repro"),
                cwd=self.folder,
                env=self.environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        run = Run(self, process, mark, time.time(), begin)
        try:
            yield run
        finally:
            for left in run.processes():
                with suppress(psutil.Error):
                    left.kill()
            process.wait()


@dataclass(frozen=True)
class Run:
    """A running command and everything it has started."""

    project: Project
    process: subprocess.Popen[bytes]
    mark: str
    began: float  # Unix time, s
    begin: int  # where its part of the file `output` begins

    def processes(self) -> list[psutil.Process]:
        """All that live, wherever they are in the tree of processes."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and (
                    process.environ().get(MARK) == self.mark
                ):
                    found.append(process)
        return found

    def find(self, role: str) -> psutil.Process | None:
        """The process of that role, if it is there."""
        for process in self.processes():
            with suppress(psutil.Error):
                if _role(process) == role:
                    return process
        return None

    def send(self, role: str, number: signal.Signals) -> bool:
        """A signal to that role, or to "all"; False if there is none now."""
        chosen = self.processes() if role == "all" else [self.find(role)]
        sent = False
        for process in filter(None, chosen):
            with suppress(psutil.Error):
                process.send_signal(number)
                sent = True
        return sent

    def wait_gone(self) -> float:
        """Waits until nothing is left; returns how long that took, in s."""
        began = time.monotonic()
        while True:
            self.process.poll()  # takes the exit status, or it stays a zombie
            left = self.processes()
            passed = time.monotonic() - began
            if not left:
                self.process.wait()
                return passed
            assert passed < LEAVE, f"left after {passed:.0f} s: {[_line(p) for p in left]}"
            time.sleep(0.1)

    def wait_for_step(self, step: int) -> None:
        """Waits until this run's own log tells of that step, or it has ended."""

        def reached() -> bool:
            last = self.project.records()[-1:]
            return self.process.poll() is not None or (
                bool(last) and last[0]["time"] > self.began and last[0]["step"] >= step
            )

        wait_for(reached, PATIENCE, 0.005)

    def wait_for_role(self, role: str) -> None:
        """Waits until there is such a process."""
        wait_for(lambda: self.find(role) is not None, PATIENCE, 0.02)

    def output(self) -> str:
        """What it has printed."""
        with open(self.project.folder / "output", "rb") as file:
            file.seek(self.begin)
            return file.read().decode(errors="replace")


def make_project(folder: Path) -> Project:
    """Images, data and parameters; a state is saved every few steps."""
    checkout = make_checkout(folder)
    write_bands(folder / "images", counts=(40, 5))
    content = yaml.safe_load((ROOT / "params/digits.yaml").read_text())
    content["data"] |= {"folder": "images", "name": "bands", "fetch": [], "loader": "folder"}
    content["model"] |= {"spec": "1111-1-1:1:1:1", "width": 8, "stem_width": 8}
    content["train_one"] = {"epochs": 20, "batch_size": 12, "lr": 0.01, "mixup": 0.2, "ema": 0.9}
    content["checkpoint_seconds"] = 0.1
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    (folder / "dvc.yaml").write_text(DVC_YAML)
    prepare = parse_params(content, "params.yaml").prepare
    convert(
        folder / "images", folder / "data/beton", prepare, "folder", name="bands", progress=False
    )
    return Project(checkout.folder)


def _role(process: psutil.Process) -> str | None:
    line = process.cmdline()
    if "ebcore.train.agent" in line:
        return "torchrun"
    if "ebcore.train.worker" in line:
        return f"worker {process.environ()['RANK']}"
    if "flows.train_one" in line:
        return "flow"
    return "dvc" if any(os.path.basename(part) == "dvc" for part in line[:3]) else None


def _line(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return f"{process.pid} {' '.join(process.cmdline())}"
    return f"{process.pid}"
