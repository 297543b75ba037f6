"""A stage of a dvc.yaml as a Prefect flow; whichever door it is started by, DVC knows its result.

`dvc repro` runs `python -m flows.<stage>`, which makes a flow run and does the work in its own
process. A run that something else starts (a person, the Prefect page) asks DVC for the stage
instead, and the process DVC then starts does the work without a flow run of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, NoReturn

from prefect import Flow, get_client, get_run_logger
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import ObjectNotFound, ParameterTypeError, TerminationSignal
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed, Pending, State

from ebcore.errors import EXIT_CODE, InputError
from ebcore.params import Params, load_params
from ebcore.train.training import method_name
from flows.dvc_process import ERROR, INNER, DvcProcesses
from flows.progress import Progress
from flows.server import check_answers, own_server, refusal_explained, running_server
from flows.tracking import Tracker
from flows.watch import Watch, note_process

ERROR_FILE = "EBCORE_ERROR_FILE"  # where `make repro` looks for a failing stage's last line
WARNING = "warning: "  # what a line begins with that the run's log shows as one
_TERMINATED = 128 + signal.SIGTERM
_TELL_SECONDS = 8  # for the server to take the last state and log lines
_CANCEL_SECONDS = 30  # the same where it was there a moment ago; flows.sweep does it otherwise
_done: list[str] = []  # stages whose work this process has finished


@dataclass(frozen=True)
class Stage:
    """One stage of a dvc.yaml.

    Args:
        name: as in dvc.yaml.
        body: does the work; returns metrics.
        item: what follows `@` in the stage's name for DVC.
        experts: number of experts, for a stage of one branch of EBConv.
        network: for a stage of another method, the network it leads to: its checkpoint's stem.
        trains: whether it is a training of a recipe.
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
    network: str | None = None
    trains: bool = False
    folder: str | None = None
    parameters: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Params | None = None

    @property
    def method(self) -> str:
        """Whose stage it is; what all methods share counts as EBConv's."""
        return method_name(self.network or self.name)

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
    """What a body gets.

    Attributes:
        params: see `Stage`.
        on_line: takes lines for the log.
        on_record: takes a training's records, for the progress bar and the stage's MLflow run.
        on_progress: takes them for the progress bar alone.
    """

    params: Params
    on_line: Callable[[str], None]
    on_record: Callable[[dict[str, Any]], None]
    on_progress: Callable[[dict[str, Any]], None]


def perform(stage: Stage | Callable[[], Stage], force: bool = False) -> State[None] | None:
    """Does the stage's work if DVC asks for it, else asks DVC for the stage.

    Args:
        stage: or what makes it, where that reads parameters: its `InputError` ends as a stage's.
        force: ask DVC to run it though nothing changed, and to train what is trained already.
    """

    def work() -> State[None] | None:
        made = stage() if callable(stage) else stage
        if _asked_for() != made.label:
            return _ask_dvc(made.address, force)
        _work(made)
        return None

    return watched(work)


def watched(work: Callable[[], State[None] | None]) -> State[None] | None:
    """The state in which `work`, a flow's, leaves the run: Cancel and bad input are no crash."""
    watch = Watch()
    try:
        with watch:
            return work()
    except BaseException as error:
        if watch.cancelled:
            _leave_within(_CANCEL_SECONDS)
            return watch.state()
        if isinstance(error, InputError):  # a state: Prefect would print a traceback
            return Failed(message=f"{ERROR}{error}")
        if not isinstance(error, Exception):
            _leave_within(_TELL_SECONDS)  # stopped from outside
        raise


def _leave_within(seconds: float) -> None:
    """Ends this process even if the server, which may be gone as well, takes no last state."""
    timer = threading.Timer(seconds, os._exit, [_TERMINATED])
    timer.daemon = True
    timer.start()


def main(flow: Flow[..., Any]) -> NoReturn:
    """Runs a flow in this process with parameters from the command line.

    The exit code says how its run ended.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    parameters = _command_line(flow)
    try:
        state = flow.fn(**parameters) if INNER in os.environ else _flow_run(flow, parameters)
    except TerminationSignal:  # Prefect has set the run to CRASHED
        sys.exit(_TERMINATED)
    except InputError as error:
        _leave(f"{ERROR}{error}", EXIT_CODE)
    except Exception as error:
        if not _done:
            raise
        # the work counts, though the server could not be told of it
        print(f"warning: Prefect: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(0)
    if state is None or state.is_completed():
        sys.exit(0)
    message = state.message or state.name or "failed"
    if message.startswith(ERROR):
        _leave(message, EXIT_CODE)
    address = "@".join([flow.name, *(str(parameters[name]) for name in _needed(flow))])
    where = "" if state.is_cancelled() else " The traceback is above."
    _leave(f"{ERROR}{address}: {message}{where}", 1)


def _command_line(flow: Flow[..., Any]) -> dict[str, Any]:
    given, needed = sys.argv[1:], _needed(flow)
    item = _asked_for().partition("@")[2]
    if item and needed and not given:  # dvc.yaml puts no parameter into a shell command
        given = [item]
    known = signature(flow.fn).parameters
    if not len(needed) <= len(given) <= len(known):
        words = [name.upper() if name in needed else f"[{name.upper()}]" for name in known]
        usage = " ".join([f"python -m flows.{flow.name}", *words])
        _leave(f"{ERROR}flows.{flow.name}: got {given}. Use: {usage}", EXIT_CODE)
    try:
        return flow.validate_parameters(dict(zip(known, given, strict=False)))
    except ParameterTypeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        _leave(f"{ERROR}flows.{flow.name}: got {given}. {reason}", EXIT_CODE)


def _needed(flow: Flow[..., Any]) -> list[str]:
    known = signature(flow.fn).parameters
    return [name for name, value in known.items() if value.default is Parameter.empty]


def _flow_run(flow: Flow[..., Any], parameters: dict[str, Any]) -> Any:
    """A run of the deployment `<flow>/local` where there is one: the page can restart those."""
    with ExitStack() as stack:
        url = running_server()
        if url:
            check_answers(url)
        else:
            url = stack.enter_context(own_server())
        stack.enter_context(temporary_settings({PREFECT_API_URL: url}))
        with refusal_explained(url), get_client(sync_client=True) as client:
            try:
                deployment = client.read_deployment_by_name(f"{flow.name}/local")
            except ObjectNotFound:
                return run_flow(flow, parameters=parameters, return_type="state")
            run = client.create_flow_run_from_deployment(
                deployment.id, parameters=parameters, state=Pending()
            )
            with suppress(Exception):  # a busy server; flows.watch notes it again
                note_process(client, run.id)
        return run_flow(flow, flow_run=run, parameters=parameters, return_type="state")


def _asked_for() -> str:
    """The stage that DVC wants, without its file: DVC names that as seen from where it started."""
    return os.environ.get("DVC_STAGE", "").rpartition(":")[2]


def _work(stage: Stage) -> None:
    params = stage.params or load_params()
    log = run_log()
    with Tracker(stage, params) as tracker, Progress(stage.label) as progress:

        def on_record(record: dict[str, Any]) -> None:
            progress.show(record)
            tracker.record(record)

        metrics = stage.body(StageRun(params, log, on_record, progress.show))
        tracker.finish(metrics or {})
    count_as_done(stage.address)


def _ask_dvc(address: str, force: bool) -> State[None] | None:
    """Has DVC run one stage, its output copied to this flow run's log."""
    context = FlowRunContext.get()
    retried = (
        context is not None and context.flow_run is not None and context.flow_run.run_count > 1
    )
    # a Retry goes on where the forced run was interrupted
    outcome = DvcProcesses().reproduce(address, run_log(), force=force, anew=force and not retried)
    if outcome.reason:
        return Failed(message=outcome.reason)
    count_as_done(address)
    return None


def run_log() -> Callable[[str], None]:
    """Takes lines: into the log of the flow or task run, warnings as such; without one, prints."""
    if (FlowRunContext.get() or TaskRunContext.get()) is None:
        return print
    logger = get_run_logger()

    def log(line: str) -> None:
        (logger.warning if line.startswith(WARNING) else logger.info)(line)

    return log


def count_as_done(address: str) -> None:
    """From now on a server that cannot be told of it does not make this process fail."""
    _done.append(address)


def _leave(message: str, code: int) -> NoReturn:
    """Ends with `message` as the last line, also for `make repro`, which DVC's lines would hide."""
    if path := os.environ.get(ERROR_FILE):
        Path(path).write_text(message, encoding="utf-8")
    print(message, file=sys.stderr, flush=True)
    sys.exit(code)
