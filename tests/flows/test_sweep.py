from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType

from flows.process_id import this_process
from flows.sweep import end_of, sweep

NOW = datetime(2030, 1, 1, tzinfo=UTC)
GONE = f"{socket.gethostname()}:1:0"  # the first process started later than 1970
ELSEWHERE = "elsewhere:1:0"
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("state", "age", "process", "end"),
    [
        (StateType.RUNNING, HOUR, GONE, StateType.CRASHED),
        (StateType.PENDING, HOUR, GONE, StateType.CRASHED),
        (StateType.PENDING, HOUR, None, StateType.CRASHED),
        (StateType.CANCELLING, HOUR, GONE, StateType.CANCELLED),
        (StateType.CANCELLING, HOUR, None, StateType.CANCELLED),
        (StateType.RUNNING, HOUR, this_process(), None),
        (StateType.CANCELLING, HOUR, this_process(), None),
        (StateType.RUNNING, HOUR, ELSEWHERE, None),
        (StateType.RUNNING, HOUR, None, None),  # some process does it, on whichever host
        (StateType.RUNNING, SECOND, GONE, None),  # a Retry: the new process is not noted yet
        (StateType.PENDING, SECOND, None, None),
        (StateType.COMPLETED, HOUR, GONE, None),
        (StateType.SCHEDULED, HOUR, GONE, None),  # a Retry that waits for its turn
    ],
    ids=lambda value: "here" if value == this_process() else None,  # the same for every worker
)
def test_a_run_ends_with_its_process(
    state: StateType, age: timedelta, process: str | None, end: StateType | None
) -> None:
    run = FlowRun(
        flow_id=uuid4(),
        state=State(type=state, timestamp=NOW - age),
        infrastructure_pid=process,
    )
    found = end_of(run, NOW)
    assert (found.type if found else None) == end


class _Server:
    """One page of runs, and what was made of them."""

    def __init__(self, url: str, runs: list[FlowRun]) -> None:
        self.api_url, self.runs, self.ended = url, {run.id: run for run in runs}, list[UUID]()

    def read_flow_runs(self, **_: object) -> list[FlowRun]:
        return list(self.runs.values())

    def read_flow_run(self, run: UUID) -> FlowRun:
        return self.runs[run]

    def set_flow_run_state(self, run: UUID, _: object, force: bool) -> None:
        assert force
        self.ended.append(run)


def test_runs_without_a_process_on_another_host_s_server_are_left_alone() -> None:
    """They may be another project's, whose flows have the same names."""
    old = State(type=StateType.PENDING, timestamp=datetime.now(UTC) - HOUR)
    runs = [
        FlowRun(flow_id=uuid4(), state=old, infrastructure_pid=process) for process in (None, GONE)
    ]
    for url, expected in (("http://127.0.0.1:4200/api", runs), ("https://team/api", runs[1:])):
        server = _Server(url, runs)
        sweep(server, ["report"])  # type: ignore[arg-type]
        assert server.ended == [run.id for run in expected]
