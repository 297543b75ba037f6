"""Runs a training stage on its worker processes and publishes what they make."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch

from ebcore.checkpoint import load_checkpoint
from ebcore.errors import InputError
from ebcore.files import atomic_path, atomic_write
from ebcore.lock import only_one
from ebcore.params import Params
from ebcore.processes import leave_with_parent, leaving
from ebcore.train.job import FINAL, RESULT, Job, make_job, write_job
from ebcore.train.log import LogTail, read_log
from ebcore.train.signals import Stops
from ebcore.train.state import drop_states
from ebcore.train.torchrun import torchrun, workers_here
from ebcore.workspace import checkpoint_file, curve_file, metrics_file

if TYPE_CHECKING:
    import pandas as pd

Relay = Callable[[str], None]
Record = Callable[[dict[str, Any]], None]

LOCK = "lock"  # in the run directory
FORCE = "EBCORE_FORCE"  # set: train again what is trained already
_POLL = 0.2  # s
_PATIENCE = 40.0  # s a stopped group gets for its checkpoint; torchrun itself allows 30


def run_training(
    stage: str,
    item: int | str,
    params: Params,
    *,
    on_line: Relay = print,
    on_record: Record = lambda record: None,
) -> dict[str, float]:
    """Trains a stage of the pipeline and writes its checkpoint, metrics and curve.

    Args:
        stage, item: its name in dvc.yaml, and what follows `@` there.
        on_line, on_record: see `trained`.

    Returns:
        The metrics, also in metrics/.

    Raises:
        InputError: bad data, checkpoint or parameters, or the same work runs already.
    """
    job = make_job(stage, item, params)
    with trained(job, on_line=on_line, on_record=on_record) as result:
        with atomic_write(curve_file(stage, item)) as file:
            result.curve.to_csv(file, index=False)
        with atomic_write(metrics_file(stage, item)) as file:
            json.dump(result.metrics, file, indent=1)
        with atomic_path(checkpoint_file(stage, item)) as temporary:
            shutil.copyfile(result.network, temporary)
    return result.metrics


@dataclass(frozen=True)
class Trained:
    """What a training stage made.

    Attributes:
        metrics: of the last epoch, with time and throughput.
        curve: a row per epoch.
        network: the trained network, in the run directory.
    """

    metrics: dict[str, float]
    curve: pd.DataFrame
    network: Path


@contextmanager
def trained(
    job: Job, *, on_line: Relay = print, on_record: Record = lambda record: None
) -> Iterator[Trained]:
    """Trains under torchrun what is not trained yet; holds the run directory for the block.

    A run that was killed or stopped goes on from its newest checkpoint in `.runs/<fingerprint>/`.
    The network stays there after the block: DVC may not yet have noted the stage as done.

    Args:
        on_line: gets each line the workers print, in the calling thread.
        on_record: gets each record of the run's log, in the calling thread; a resumed run's
            earlier records come again.

    Raises:
        InputError: bad data, checkpoint or parameters, or the same work runs already.
    """
    busy = "the same training runs already"
    with Stops() as stops, only_one(job.folder / LOCK, job.folder, busy) as lock:
        if os.environ.get(FORCE):
            _forget(job)
        if _is_trained(job):
            on_line(f"trained already in {job.folder}; {FORCE}=1 trains again")
            for record in read_log(job.folder):
                on_record(record)
        else:
            _run_workers(job, lock, stops, on_line, on_record)
        yield _result(job)
        drop_states(job.folder)


def fingerprint(stage: str, item: int | str, params: Params) -> str:
    """What identifies this work in MLflow and in .runs/ (see `ebcore.train.job`)."""
    return make_job(stage, item, params).fingerprint


def _run_workers(
    job: Job, lock: RawIOBase, stops: Stops, on_line: Relay, on_record: Record
) -> None:
    _check_devices(job)
    command, environment = torchrun(job, write_job(job))
    for path in job.folder.glob("error-*"):
        path.unlink()
    records = LogTail(job.folder)
    parent = os.getpid()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=[lock.fileno()],  # the lock is held as long as torchrun lives
        preexec_fn=lambda: leave_with_parent(parent),
        env=environment,
    )
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    with _stopping(process):
        while (line := _next(lines)) is not None:
            stops.raise_again()
            if line:
                on_line(line)
            for record in records.new():
                on_record(record)
        code = process.wait()
    for record in records.new():
        on_record(record)
    if not (job.folder / FINAL).exists():
        raise _explanation(job, code)


def _explanation(job: Job, code: int) -> InputError:
    """Why there is no trained network."""
    for path in sorted(job.folder.glob("error-*.json")):
        return InputError(*json.loads(path.read_text(encoding="utf-8")))
    how = f"failed (exit code {code}); the reason is above" if code else "stopped on request"
    return InputError(
        job.stage,
        f"the training processes {how}",
        f"Start the stage again: it goes on from its last checkpoint in {job.folder}.",
    )


def _result(job: Job) -> Trained:
    import pandas as pd  # only now: the workers start half a second earlier

    result = json.loads((job.folder / RESULT).read_text(encoding="utf-8"))
    curve = pd.DataFrame(result["curve"])
    last = result["curve"][-1]
    metrics = {
        "top1": last["val_top1"],
        "top5": last["val_top5"],
        "loss": last["val_loss"],
        "best_top1": float(curve["val_top1"].max()),
        "train_loss": last["train_loss"],
        "epochs": float(job.train.epochs),
        "seconds": result["seconds"],
        "overall_images_per_second": result["images"] / result["seconds"],
    }
    return Trained(metrics, curve, job.folder / FINAL)


def _is_trained(job: Job) -> bool:
    """Whether the run directory holds the trained network; a damaged one is thrown away."""
    final = job.folder / FINAL
    if not final.exists():
        return False
    try:
        load_checkpoint(final)
    except InputError:
        final.unlink()
        return False
    return True


def _forget(job: Job) -> None:
    drop_states(job.folder)
    (job.folder / FINAL).unlink(missing_ok=True)


def _check_devices(job: Job) -> None:
    """Refuses what would end in a traceback of every worker."""
    device, gpus = job.params.device, torch.cuda.device_count()
    if device == "cuda" and not gpus:
        raise InputError("device: cuda", "this machine has no CUDA device", "Use auto or cpu.")
    if job.params.sync_batchnorm and not gpus:
        raise InputError(
            "sync_batchnorm: true", "this machine has no CUDA device", "Set it to false."
        )
    share = workers_here(job)
    if device != "cpu" and gpus and share > gpus:
        raise InputError(
            f"workers: {job.params.workers}",
            f"{share} on this host, which has {gpus} GPU(s)",
            "Use one worker per GPU, or device: cpu.",
        )


@contextmanager
def _stopping(process: subprocess.Popen[str]) -> Iterator[None]:
    """On any way out but the ordinary one, ends the workers after a checkpoint."""
    try:
        yield
    except BaseException:
        with leaving():
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        raise


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    try:
        for line in stream:
            lines.put(line.rstrip("\n"))
    finally:
        lines.put(None)


def _next(lines: queue.Queue[str | None]) -> str | None:
    """The next line, "" when none came for a moment, None at the end."""
    try:
        return lines.get(timeout=_POLL)
    except queue.Empty:
        return ""
