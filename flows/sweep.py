"""Runs whose process was killed: the server still takes them for running, so no page offers Retry.

A run notes its process with the server (flows/watch.py). Where that process is gone, the run
becomes Crashed, or Cancelled if that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled, Crashed, State

from flows.process_id import is_gone

# how long a run may be in a state before its process has noted itself; a start imports a lot
SETTLE = {
    StateType.PENDING: timedelta(minutes=5),
    StateType.RUNNING: timedelta(seconds=20),
    StateType.CANCELLING: timedelta(seconds=20),
}
_GONE = "Its process is gone; Retry goes on from the last checkpoint."
_PAGE = 200  # runs in one answer, the server's limit


def sweep(client: SyncPrefectClient, flows: Iterable[str]) -> list[FlowRun]:
    """Ends the unfinished runs of these flows whose process is gone; returns them.

    On another host's server, runs that no process has begun with are left alone: they may be
    somebody else's.
    """
    ended = []
    local = urlsplit(str(client.api_url)).hostname in ("127.0.0.1", "localhost", "::1")
    for run in _unfinished(client, list(flows)):
        if end_of(run) is None or not (local or run.infrastructure_pid):
            continue
        run = client.read_flow_run(run.id)  # the last thing that its process did may be newer
        if state := end_of(run):
            client.set_flow_run_state(run.id, state, force=True)
            ended.append(run)
    return ended


def end_of(run: FlowRun, now: datetime | None = None) -> State[None] | None:
    """The state that a run should end in; None if it goes on, or as far as this host can know."""
    state = run.state
    if state is None or state.type not in SETTLE:
        return None
    if (now or datetime.now(UTC)) - state.timestamp < SETTLE[state.type]:
        return None
    if run.infrastructure_pid is None:
        gone = state.type is not StateType.RUNNING  # no process has begun with it
    else:
        gone = is_gone(run.infrastructure_pid)
    if not gone:
        return None
    if state.type is StateType.CANCELLING:
        return Cancelled(message=_GONE)
    return Crashed(message=_GONE)


def _unfinished(client: SyncPrefectClient, flows: list[str]) -> list[FlowRun]:
    found: list[FlowRun] = []
    states = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(SETTLE)))
    while True:
        page = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=flows)),
            flow_run_filter=FlowRunFilter(state=states),
            limit=_PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < _PAGE:
            return found
