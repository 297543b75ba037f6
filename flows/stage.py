"""A stage of a dvc.yaml as a Prefect flow; whichever door it is started by, DVC knows its result.

`dvc repro` runs `python -m flows.<stage>`, which makes a flow run and does the work in its own
process. A run that something else starts (a person, the Prefect page) asks DVC for the stage
instead, and the process DVC then starts does the work without a flow run of its own.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any, NoReturn

from prefect import Flow, get_client, get_run_logger
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound, TerminationSignal
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed, Pending, State

from ebcore.errors import EXIT_CODE, InputError
from ebcore.params import Params, load_params
from ebcore.processes import leave_with_parent
from flows.environment import dvc_environment
from flows.progress import Progress
from flows.server import answers, running_server
from flows.tracking import Tracker

INNER = "EBCORE_INNER"  # set for a process whose flow run is that of its caller
ERROR_FILE = "EBCORE_ERROR_FILE"  # where `make repro` looks for a failing stage's last line
_ERROR = "error: "
_TERMINATED = 128 + signal.SIGTERM
LEAVE_SECONDS = 60  # for workers to write a checkpoint
_TELL_SECONDS = 8  # for the server to take the last state and log lines
_done: list[str] = []  # stages whose work this process has finished


@dataclass(frozen=True)
class Stage:
    """One stage of a dvc.yaml.

    Args:
        name: as in dvc.yaml.
        body: does the work; returns metrics.
        item: what follows `@` in the stage's name for DVC.
        experts: number of experts, for a stage of one branch.
        folder: where its dvc.yaml is, if not in the checkout's root.
        parameters: top-level keys of params.yaml that its MLflow run shows.
        artifacts: small files that its MLflow run keeps.
        tags: of its MLflow run, beside those that every stage has.
        params: what it works with; None is all of params.yaml as it is.
    """

    name: str
    body: Callable[[StageRun], Mapping[str, Any] | None]
    item: str | int | None = None
    experts: int | None = None
    folder: str | None = None
    parameters: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Params | None = None

    @property
    def label(self) -> str:
        """The stage's name in its dvc.yaml, for example `train_experts@4`."""
        return self.name if self.item is None else f"{self.name}@{self.item}"

    @property
    def address(self) -> str:
        """Its name for DVC in the checkout's root, for example `growth/dvc.yaml:growth@base`."""
        return self.label if self.folder is None else f"{self.folder}/dvc.yaml:{self.label}"


@dataclass(frozen=True)
class StageRun:
    """What a body gets: parameters, and where its lines and records go."""

    params: Params
    on_line: Callable[[str], None]
    on_record: Callable[[dict[str, Any]], None]


def perform(stage: Stage | Callable[[], Stage]) -> State[None] | None:
    """Does the stage's work if DVC asks for it, else asks DVC for the stage.

    Args:
        stage: or what makes it, where that reads parameters: its `InputError` ends as a stage's.
    """
    try:
        if callable(stage):
            stage = stage()
        if _asked_for() != stage.label:
            return _ask_dvc(stage.address)
        _work(stage)
    except InputError as error:  # a state, not an exception: Prefect would print a traceback
        return Failed(message=f"{_ERROR}{error}")
    except Exception:
        raise
    except BaseException:  # stopped from outside; the server may be gone as well
        timer = threading.Timer(_TELL_SECONDS, os._exit, [_TERMINATED])
        timer.daemon = True
        timer.start()
        raise
    return None


def main(flow: Flow[..., Any]) -> NoReturn:
    """Runs a stage's flow in this process; the exit code says how its run ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    names = list(signature(flow.fn).parameters)
    if len(sys.argv) - 1 != len(names):
        usage = " ".join([f"python -m flows.{flow.name}", *map(str.upper, names)])
        _leave(f"{_ERROR}flows.{flow.name}: got {sys.argv[1:]}. Use: {usage}", EXIT_CODE)
    parameters = flow.validate_parameters(dict(zip(names, sys.argv[1:], strict=True)))
    try:
        state = flow.fn(**parameters) if INNER in os.environ else _flow_run(flow, parameters)
    except TerminationSignal:  # Prefect has set the run to CRASHED
        sys.exit(_TERMINATED)
    except InputError as error:
        _leave(f"{_ERROR}{error}", EXIT_CODE)
    except Exception as error:
        if not _done:
            raise
        # the work counts, though the server could not be told of it
        print(f"warning: Prefect: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(0)
    if state is None or state.is_completed():
        sys.exit(0)
    message = state.message or state.name or "failed"
    if message.startswith(_ERROR):
        _leave(message, EXIT_CODE)
    address = "@".join([flow.name, *map(str, parameters.values())])
    _leave(f"{_ERROR}{address}: {message} The traceback is above.", 1)


def _flow_run(flow: Flow[..., Any], parameters: dict[str, Any]) -> Any:
    """A run of the deployment `<flow>/local` where there is one: the page can restart those."""
    url = running_server()
    if url and not answers(f"{url}/health"):
        raise InputError(url, "no Prefect server answers", "Start it, or unset PREFECT_API_URL.")
    with temporary_settings({PREFECT_API_URL: url} if url else {}):
        with get_client(sync_client=True) as client:
            try:
                deployment = client.read_deployment_by_name(f"{flow.name}/local")
            except ObjectNotFound:
                return run_flow(flow, parameters=parameters, return_type="state")
            run = client.create_flow_run_from_deployment(
                deployment.id, parameters=parameters, state=Pending()
            )
        return run_flow(flow, flow_run=run, parameters=parameters, return_type="state")


def _asked_for() -> str:
    """The stage that DVC wants, without its file: DVC names that as seen from where it started."""
    return os.environ.get("DVC_STAGE", "").rpartition(":")[2]


def _work(stage: Stage) -> None:
    params = stage.params or load_params()
    log = get_run_logger().info if FlowRunContext.get() else print
    with Tracker(stage, params) as tracker, Progress(stage.label) as progress:

        def on_record(record: dict[str, Any]) -> None:
            progress.show(record)
            tracker.record(record)

        metrics = stage.body(StageRun(params, log, on_record))
        tracker.finish(metrics or {})
    _done.append(stage.address)


def _ask_dvc(address: str) -> State[None] | None:
    """Runs `dvc repro` for one stage, its output copied to this flow run's log."""
    parent = os.getpid()
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "--single-item", address],
        env={**dvc_environment(), INNER: "1"},
        preexec_fn=lambda: leave_with_parent(parent),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    reason = None
    try:
        for line in map(str.rstrip, process.stdout):
            print(line)
            reason = line if line.startswith(_ERROR) else reason
    finally:
        if process.poll() is None:  # interrupted: the stage's process leaves with DVC
            process.terminate()
            process.communicate(timeout=LEAVE_SECONDS)
    if process.wait() == 0:
        return None
    return Failed(message=reason or f"{_ERROR}dvc repro -s {address}: exit {process.returncode}")


def _leave(message: str, code: int) -> NoReturn:
    """Ends with `message` as the last line, also for `make repro`, which DVC's lines would hide."""
    if path := os.environ.get(ERROR_FILE):
        Path(path).write_text(message, encoding="utf-8")
    logging.getLogger("prefect").setLevel(logging.ERROR)  # "Stopping temporary server" comes after
    print(message, file=sys.stderr, flush=True)
    sys.exit(code)
