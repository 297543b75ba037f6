"""`dvc repro` for one stage, its lines handed on as they come, ended together with the stage."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

from ebcore.processes import leave_with_parent, leaving
from flows.environment import dvc_environment

INNER = "EBCORE_INNER"  # set for a process whose flow run is that of its caller
ERROR = "error: "  # what the last line of a failed stage begins with
LEAVE_SECONDS = 60  # for workers to write a checkpoint


@dataclass(frozen=True)
class Outcome:
    """How a `dvc repro` ended.

    Attributes:
        reason: why it failed, in one line; None if it did not.
        up_to_date: nothing had to run.
    """

    reason: str | None
    up_to_date: bool


class DvcProcesses:
    """The `dvc repro` processes of one flow run; may be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Condition()  # told when one has ended
        self._running: set[subprocess.Popen[str]] = set()
        self.stopped = False

    def reproduce(
        self,
        address: str,
        on_line: Callable[[str], None],
        *,
        force: bool = False,
        anew: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Brings one stage up to date, but not those it depends on.

        Args:
            address: the stage's name for DVC in the checkout's root.
            on_line: gets each line of output.
            force: run the stage though nothing changed.
            anew: train what is trained already, too.
            settings: environment variables of the stage.
        """
        settings = dict(settings or {})
        if anew:
            from ebcore.train.launch import FORCE  # imports torch

            settings[FORCE] = "1"
        process = self._start(address, force, settings)
        if process is None:
            return Outcome(f"{ERROR}{address}: stopped before it began", False)
        try:
            return _follow(process, address, on_line)
        finally:
            if process.poll() is None:  # interrupted
                with leaving():
                    _end([process])
            with self._lock:
                self._running.discard(process)
                self._lock.notify_all()

    def stop(self) -> None:
        """Ends what runs, after a checkpoint, and waits for it; nothing starts from now on."""
        with self._lock:
            self.stopped = True
            running = list(self._running)
        _end(running)
        with self._lock:
            self._lock.wait_for(lambda: not self._running, LEAVE_SECONDS)

    def _start(
        self, address: str, force: bool, settings: Mapping[str, str]
    ) -> subprocess.Popen[str] | None:
        own = {INNER: "1", "PYTHONUNBUFFERED": "1"}
        options = ["--force"] if force else []
        parent = os.getpid()
        with self._lock:
            if self.stopped:
                return None
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item"),
                    *(*options, address),
                ],
                env={**dvc_environment(), **own, **settings},
                preexec_fn=lambda: leave_with_parent(parent),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            self._running.add(process)
        return process


def _end(running: list[subprocess.Popen[str]]) -> None:
    """A stage leaves with its DVC (see flows/__init__.py); one that does not is killed."""
    stages: list[psutil.Process] = []
    for process in running:
        with suppress(psutil.NoSuchProcess):
            stages += psutil.Process(process.pid).children(recursive=True)
        process.terminate()
    _, left = psutil.wait_procs(stages, LEAVE_SECONDS)
    for stage in left:
        with suppress(psutil.NoSuchProcess):
            stage.kill()


def _follow(
    process: subprocess.Popen[str], address: str, on_line: Callable[[str], None]
) -> Outcome:
    assert process.stdout is not None
    stage_reason = dvc_reason = None
    up_to_date = False
    for line in map(str.rstrip, process.stdout):
        on_line(line)
        if line.startswith(ERROR):
            stage_reason = line
        elif line.startswith("ERROR: "):
            dvc_reason = f"{ERROR}{address}: {line.removeprefix('ERROR: ')}"
        elif dvc_reason and line.lstrip().startswith("(PID "):  # who holds DVC's lock
            dvc_reason = f"{dvc_reason} {line.strip()}"
        up_to_date = up_to_date or line.endswith("didn't change, skipping")
    if process.wait() == 0:
        return Outcome(None, up_to_date)
    fallback = f"{ERROR}dvc repro -s {address}: exit {process.returncode}"
    return Outcome(stage_reason or dvc_reason or fallback, False)
