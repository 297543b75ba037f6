"""What ties a flow run to its process: its name on the server, and Cancel.

Prefect stops the runs that its own runner has started. One that `dvc repro` started asks the
server for its state instead, and interrupts its work when that is Cancelling.
"""

from __future__ import annotations

import os
import signal
import threading
from contextvars import copy_context
from types import TracebackType
from typing import Self
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, State

from ebcore.processes import leave_with_parent
from flows.process_id import this_process

_SECONDS = 3.0  # between two questions
CANCELLED = "Stopped on request; Retry goes on from the last checkpoint."


class Watch:
    """Around the work of a flow run, in the main thread of its process.

    A Cancel arrives as the signal that ends a run from outside; `cancelled` tells the two apart.
    """

    def __init__(self) -> None:
        self.cancelled = False
        self._over = threading.Event()
        self._lock = threading.Lock()  # no signal after the block
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        context = FlowRunContext.get()
        if context is None or context.flow_run is None or not PREFECT_API_URL.value():
            return self  # a run that no page shows
        by_runner = "PREFECT__FLOW_RUN_ID" in os.environ
        if by_runner:
            # with flows.serve, or the worker of a pool, which gives it a session of its own
            leave_with_parent(os.getppid())
        here = copy_context()  # has the server's address
        self._thread = threading.Thread(
            target=here.run, args=(self._follow, context.flow_run.id, by_runner), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._over.set()

    def state(self) -> State[None]:
        """What a cancelled run ends in."""
        return Cancelled(message=CANCELLED)

    def _follow(self, run: UUID, by_runner: bool) -> None:
        noted = False
        with get_client(sync_client=True) as client:
            while not self._over.is_set():
                try:
                    noted = noted or note_process(client, run)
                    if by_runner and noted:
                        return  # the runner sees to the rest
                    state = client.read_flow_run(run).state
                    if state and (state.is_cancelling() or state.is_cancelled()):
                        self._interrupt()
                        return
                except Exception:  # noqa: S110 - a server that is slow or gone costs no work
                    pass
                self._over.wait(_SECONDS)

    def _interrupt(self) -> None:
        with self._lock:
            if not self._over.is_set():
                self.cancelled = True
                main = threading.main_thread().ident
                assert main is not None
                signal.pthread_kill(main, signal.SIGTERM)


def note_process(client: SyncPrefectClient, run: UUID) -> bool:
    """Tells the server that this process does the run's work (see flows/sweep.py)."""
    client.update_flow_run(run, infrastructure_pid=this_process())
    return True
