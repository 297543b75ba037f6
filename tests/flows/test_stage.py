from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.server import prefect_server
from tests.flows.conftest import Checkout, processes_of, wait_for

DVC = ("dvc", "repro")


def ask(url: str, question: Callable[[SyncPrefectClient], Any]) -> Any:
    with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
        return question(client)


def runs(url: str) -> list[FlowRun]:
    """All flow runs, the newest first."""
    found = ask(url, lambda client: client.read_flow_runs())
    return sorted(found, key=lambda run: run.created, reverse=True)


def log_of(url: str, run: FlowRun) -> list[str]:
    only = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
    return [log.message for log in ask(url, lambda client: client.read_logs(only))]


def warnings_of(url: str, run: FlowRun) -> list[str]:
    only = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
    logs = ask(url, lambda client: client.read_logs(only))
    return [log.message for log in logs if log.level == logging.WARNING]


def test_a_stage_is_a_completed_flow_run_with_its_lines(
    checkout: Checkout, prefect_url: str
) -> None:
    done = checkout.run(*DVC, PREFECT_API_URL=prefect_url)
    assert done.returncode == 0, done.stderr
    run = runs(prefect_url)[0]
    assert (run.name, run.state_name) == ("toy@4", "Completed")
    lines = log_of(prefect_url, run)
    assert "a printed line" in lines
    assert "a worker's line" in lines
    assert warnings_of(prefect_url, run) == ["warning: a worker's warning"]
    assert checkout.run("dvc", "status", "--quiet").returncode == 0


def test_bad_input_ends_in_one_line_and_a_failed_run(checkout: Checkout, prefect_url: str) -> None:
    checkout.set_mode("bad input")
    done = checkout.run("python", "toy.py", "4", PREFECT_API_URL=prefect_url, DVC_STAGE="toy@4")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: data/toy.png: is no image. Remove it."
    assert "Traceback" not in done.stderr
    run = runs(prefect_url)[0]
    assert run.state is not None and run.state.is_failed()
    assert run.state.message == "error: data/toy.png: is no image. Remove it."


def test_a_bug_shows_its_traceback_and_fails(checkout: Checkout, prefect_url: str) -> None:
    checkout.set_mode("bug")
    done = checkout.run("python", "toy.py", "4", PREFECT_API_URL=prefect_url, DVC_STAGE="toy@4")
    assert done.returncode == 1
    assert "RuntimeError: boom" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: toy@4: ")


def test_a_run_that_dvc_did_not_start_asks_dvc(checkout: Checkout, prefect_url: str) -> None:
    done = checkout.run("python", "toy.py", "4", PREFECT_API_URL=prefect_url)
    assert done.returncode == 0, done.stderr
    run = runs(prefect_url)[0]
    assert run.state_name == "Completed"
    assert "a worker's line" in log_of(prefect_url, run)
    assert warnings_of(prefect_url, run) == ["warning: a worker's warning"]
    assert "toy@4" in (checkout.folder / "dvc.lock").read_text()


def test_a_failure_behind_dvc_keeps_its_line(checkout: Checkout, prefect_url: str) -> None:
    checkout.set_mode("bad input")
    done = checkout.run("python", "toy.py", "4", PREFECT_API_URL=prefect_url)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: data/toy.png: is no image. Remove it."


@pytest.mark.parametrize("target", ["stage", "/bin/sh", "/bin/bash"])
def test_sigterm_ends_as_crashed(checkout: Checkout, prefect_url: str, target: str) -> None:
    """To the stage, or to DVC, which starts its command with the user's shell."""
    checkout.set_mode("wait")
    if target.startswith("/"):
        process = checkout.start(*DVC, PREFECT_API_URL=prefect_url, SHELL=target)
    else:
        process = checkout.start(
            "python", "toy.py", "4", PREFECT_API_URL=prefect_url, DVC_STAGE="toy@4"
        )
    wait_for(lambda: (checkout.folder / "waiting").exists())
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) != 0
    wait_for(lambda: runs(prefect_url)[0].state_name == "Crashed")


@pytest.mark.slow
def test_work_counts_though_the_server_died(checkout: Checkout) -> None:
    checkout.set_mode("wait")
    with prefect_server(port=0) as url:
        process = checkout.start("python", "toy.py", "4", PREFECT_API_URL=url, DVC_STAGE="toy@4")
        wait_for(lambda: (checkout.folder / "waiting").exists())
    (checkout.folder / "go").touch()
    assert process.wait(90) == 0
    assert (checkout.folder / "metrics/toy-4.json").exists()


@pytest.mark.slow
def test_the_server_that_a_run_starts_for_itself_ends_with_it(checkout: Checkout) -> None:
    checkout.set_mode("wait")
    process = checkout.start("python", "toy.py", "4", DVC_STAGE="toy@4")
    wait_for(lambda: (checkout.folder / "waiting").exists(), 120)
    assert len(processes_of(checkout)) > 1
    process.kill()
    process.wait()
    wait_for(lambda: processes_of(checkout) == [], 20)


def test_a_server_that_is_not_there_is_named(checkout: Checkout) -> None:
    url = "http://127.0.0.1:9/api"
    done = checkout.run("python", "toy.py", "4", PREFECT_API_URL=url, DVC_STAGE="toy@4")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {url}: no Prefect server answers.")


def test_wrong_arguments_are_named(checkout: Checkout) -> None:
    done = checkout.run("python", "toy.py")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: flows.toy: got []. Use: ")
