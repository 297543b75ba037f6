from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType

from flows.process_id import this_process
from flows.sweep import end_of

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
