"""What the page's buttons do, through the API that they call, with a real server and real runs."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import AwaitingRetry, Cancelling

from flows.server import prefect_server, running_server
from tests.flows.conftest import Checkout, make_checkout, processes_of, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PATIENCE = 150.0  # s


class Served:
    """A checkout whose stages a `flows.serve` serves at a server of its own."""

    def __init__(self, checkout: Checkout, url: str, process: subprocess.Popen[str]) -> None:
        self.checkout, self.url, self.process = checkout, url, process

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        here = temporary_settings({PREFECT_API_URL: self.url})
        with here, get_client(sync_client=True) as client:
            return getattr(client, method)(*arguments, **options)

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


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    checkout = make_checkout(tmp_path_factory.mktemp("serve") / "checkout")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(checkout.folder / ".prefect"))
        with prefect_server(port=0) as url:
            process = checkout.start("python", "-m", "flows.serve")  # finds the server by its note
            try:
                found = Served(checkout, url, process)
                wait_for(lambda: found.ask("read_deployments") != [], PATIENCE)
                yield found
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(60)
        wait_for(lambda: processes_of(checkout) == [])


def test_every_stage_has_a_deployment_with_its_parameters(served: Served) -> None:
    wait_for(lambda: len(served.ask("read_deployments")) == 2, PATIENCE)
    toy = served.ask("read_deployment_by_name", "toy/local")
    assert set(toy.parameter_openapi_schema["properties"]) == {"experts", "force"}
    pipeline = served.ask("read_deployment_by_name", "pipeline/local")
    assert set(pipeline.parameter_openapi_schema["properties"]) == {"parallel"}


def test_retry_of_a_failed_run_of_dvc_ends_in_a_clean_lock(served: Served) -> None:
    served.checkout.set_mode("bad input")
    done = served.checkout.run("dvc", "repro", PREFECT_API_URL=served.url)
    assert done.returncode != 0
    failed = served.newest()
    assert (failed.name, failed.state_name) == ("toy@4", "Failed")
    assert failed.deployment_id is not None  # or the page shows no Retry
    assert not served.is_clean()
    served.checkout.set_mode("good")
    served.retry(failed.id)
    assert served.wait_until(failed.id, "Completed").run_count == 2
    assert "a worker's line" in served.log(failed.id)
    assert served.is_clean()


def test_a_start_with_force_runs_what_is_up_to_date(served: Served) -> None:
    served.checkout.set_mode("good")
    served.wait_until(served.start("toy/local", experts=4), "Completed")
    assert served.is_clean()
    again = served.start("toy/local", experts=4)
    served.wait_until(again, "Completed")
    assert "a worker's line" not in served.log(again)
    forced = served.start("toy/local", experts=4, force=True)
    served.wait_until(forced, "Completed")
    assert "a worker's line" in served.log(forced)
    assert "EBCORE_FORCE is 1" in served.log(forced)
    assert served.is_clean()


def test_a_start_of_what_is_no_stage_says_so(served: Served) -> None:
    failed = served.wait_until(served.start("toy/local", experts=3), "Failed")
    assert failed.state is not None and failed.state.message is not None
    assert failed.state.message.startswith("error: toy@3: ")
    assert "not found" in failed.state.message


def test_a_killed_run_becomes_crashed(served: Served) -> None:
    process = served.dvc()
    run = served.newest()
    assert run.state_name == "Running"
    pid = str(run.infrastructure_pid).split(":")[1]
    subprocess.run(["kill", "-9", pid], check=True)
    assert process.wait(60) != 0
    crashed = served.wait_until(run.id, "Crashed")
    assert crashed.state is not None
    assert crashed.state.message == "Its process is gone; Retry goes on from the last checkpoint."
    served.checkout.set_mode("good")
    served.retry(run.id)
    served.wait_until(run.id, "Completed")
    assert served.is_clean()


def test_cancel_reaches_a_run_that_dvc_started(served: Served) -> None:
    before = set(processes_of(served.checkout))
    process = served.dvc()
    run = served.newest()
    served.cancel(run.id)
    assert process.wait(30) != 0
    cancelled = served.wait_until(run.id, "Cancelled")
    assert cancelled.state is not None and cancelled.state.message is not None
    assert cancelled.state.message.startswith("Stopped on request")
    wait_for(lambda: set(processes_of(served.checkout)) <= before, 20)
    assert not served.is_clean()
    served.checkout.set_mode("good")
    served.retry(run.id)
    served.wait_until(run.id, "Completed")
    assert served.is_clean()


def test_cancel_reaches_a_run_that_the_page_started(served: Served) -> None:
    before = set(processes_of(served.checkout))
    served.checkout.set_mode("wait")
    waiting = served.checkout.folder / "waiting"
    waiting.unlink(missing_ok=True)
    run = served.start("toy/local", experts=4)
    wait_for(waiting.exists, PATIENCE)
    served.cancel(run)
    served.wait_until(run, "Cancelled")
    wait_for(lambda: set(processes_of(served.checkout)) <= before, 20)
    assert not served.is_clean()


def test_it_outlives_the_server_of_make_ui_and_stops_with_what_it_runs(checkout: Checkout) -> None:
    waiting = checkout.folder / "waiting"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(checkout.folder / ".prefect"))
        with prefect_server(port=0) as url:
            process = checkout.start("python", "-m", "flows.serve")
            served = Served(checkout, url, process)
            wait_for(lambda: len(served.ask("read_deployments")) == 2, PATIENCE)
            checkout.set_mode("wait")
            run = served.start("toy/local", experts=4)
            wait_for(waiting.exists, PATIENCE)
        wait_for(lambda: running_server() == url, PATIENCE)  # again, by the serving process
        assert served.ask("read_flow_run", run).state_name == "Running"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        wait_for(lambda: processes_of(checkout) == [], 20)
        with prefect_server(port=0) as served.url:
            assert served.ask("read_flow_run", run).state_name == "Cancelled"
