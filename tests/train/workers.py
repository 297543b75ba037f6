"""The worker processes of a run, found by their command and environment."""

from __future__ import annotations

import time
from pathlib import Path

import psutil


def processes(folder: Path, module: str) -> list[psutil.Process]:
    """Those that run `python -m module ... <folder>/job.json`."""
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if module in command[:5] and command[-1] == str(folder / "job.json"):
            found.append(process)
    return found


def worker(folder: Path, rank: int) -> psutil.Process:
    """The worker with this rank, not a process that it forked; waits for it."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        agents = {process.pid for process in processes(folder, "ebcore.train.agent")}
        for process in processes(folder, "ebcore.train.worker"):
            try:
                if process.ppid() in agents and process.environ().get("RANK") == str(rank):
                    return process
            except psutil.Error:
                continue
        time.sleep(0.05)
    raise AssertionError(f"no worker {rank}")


def assert_all_leave(folder: Path, seconds: float) -> float:
    """Waits until no process of the run is left; returns how long that took."""
    start = time.monotonic()
    while left := [
        process.pid
        for module in ("ebcore.train.agent", "ebcore.train.worker")
        for process in processes(folder, module)
    ]:
        assert time.monotonic() - start < seconds, f"still running: {left}"
        time.sleep(0.1)
    return time.monotonic() - start
