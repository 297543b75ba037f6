"""A checkout served by a real `flows.serve` at a real server, with what the page's buttons call."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import AwaitingRetry, Cancelling

from flows.server import prefect_server
from tests.flows.conftest import Checkout, make_checkout, processes_of, wait_for

PATIENCE = 150.0  # s


class Served:
    """A checkout whose stages a `flows.serve` serves at a server of its own."""

    def __init__(self, checkout: Checkout, url: str, process: subprocess.Popen[str]) -> None:
        self.checkout, self.url, self.process = checkout, url, process

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        here = temporary_settings({PREFECT_API_URL: self.url})
        with here, get_client(sync_client=True) as client:
            return getattr(client, method)(*arguments, **options)

    @property
    def page(self) -> str:
        return self.url.removesuffix("/api")

    def newest(self) -> FlowRun:
        return max(self.ask("read_flow_runs"), key=lambda run: run.created)

    def start(self, deployment: str, **parameters: Any) -> UUID:
        """What the page's Start does."""
        found = self.ask("read_deployment_by_name", deployment)
        run = self.ask("create_flow_run_from_deployment", found.id, parameters=parameters)
        return UUID(str(run.id))

    def retry(self, run: UUID) -> None:
        """What the page's Retry does."""
        self.ask("set_flow_run_state", run, AwaitingRetry(), force=True)

    def cancel(self, run: UUID) -> None:
        """What the page's Cancel does."""
        self.ask("set_flow_run_state", run, Cancelling())

    def wait_until(self, run: UUID, state: str) -> FlowRun:
        wait_for(lambda: self.ask("read_flow_run", run).state_name == state, PATIENCE)
        return self.ask("read_flow_run", run)  # type: ignore[no-any-return]

    def log(self, run: UUID) -> list[str]:
        only = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
        return [log.message for log in self.ask("read_logs", only)]

    def dvc(self) -> subprocess.Popen[str]:
        """`dvc repro`, until its stage waits."""
        for name in ("waiting", "go"):
            (self.checkout.folder / name).unlink(missing_ok=True)
        self.checkout.set_mode("wait")
        process = self.checkout.start("dvc", "repro", PREFECT_API_URL=self.url)
        wait_for((self.checkout.folder / "waiting").exists, PATIENCE)
        return process

    def is_clean(self) -> bool:
        return self.checkout.run("dvc", "status", "--quiet").returncode == 0


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Makes the toy checkout in `folder`, serves it for the block and leaves no process."""
    checkout = make_checkout(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(checkout.folder / ".prefect"))
        with prefect_server(port=0) as url:
            process = checkout.start("python", "-m", "flows.serve")  # finds the server by its note
            try:
                found = Served(checkout, url, process)
                wait_for(lambda: len(found.ask("read_deployments")) == 2, PATIENCE)
                yield found
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(60)
        wait_for(lambda: processes_of(checkout) == [])
