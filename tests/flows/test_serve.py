"""What the page's buttons do, through the API that they call, with a real server and real runs."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest

from flows.server import prefect_server, running_server
from tests.flows.conftest import Checkout, processes_of, wait_for
from tests.flows.served import PATIENCE, Served, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("serve") / "checkout") as found:
        yield found


def test_every_stage_has_a_deployment_with_its_parameters(served: Served) -> None:
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


@pytest.mark.timeout(400)
def test_it_ends_in_one_line_when_a_server_that_is_not_its_own_stays_away(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(checkout.folder / ".prefect"))
    with prefect_server(port=0) as url:
        process = subprocess.Popen(
            ["python", "-m", "flows.serve"],
            cwd=checkout.folder,
            env=checkout.environment(PREFECT_API_URL=url),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        served = Served(checkout, url, process)
        wait_for(lambda: len(served.ask("read_deployments")) == 2, PATIENCE)
    output, _ = process.communicate(timeout=300)
    page = url.removesuffix("/api")
    assert process.returncode == 2, output
    assert output.splitlines()[-1] == (
        f"error: {page}: the Prefect server is gone. Start it, then `make serve` again."
    )
    wait_for(lambda: processes_of(checkout) == [], 20)
