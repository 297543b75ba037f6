from __future__ import annotations

import signal
import time

import pytest

from tests.flows.conftest import Checkout, processes_of


def test_the_failing_stage_has_the_last_word(checkout: Checkout) -> None:
    checkout.set_mode("bad input")
    done = checkout.run("python", "-m", "flows.repro")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: data/toy.png: is no image. Remove it."
    assert "Traceback" not in done.stderr
    assert processes_of(checkout) == []


def test_an_unknown_parameter_starts_nothing(checkout: Checkout) -> None:
    params = checkout.folder / "params.yaml"
    params.write_text(params.read_text() + "\nepochs: 3\n")
    done = checkout.run("python", "-m", "flows.repro")
    assert done.returncode == 2
    assert done.stderr.startswith("error: params.yaml: epochs: unknown parameter")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_it(checkout: Checkout, number: signal.Signals) -> None:
    checkout.set_mode("wait")
    process = checkout.start("python", "-m", "flows.repro")
    deadline = time.monotonic() + 90
    while not (checkout.folder / "waiting").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.2)
    assert len(processes_of(checkout)) >= 3  # itself, the server, the stage
    process.send_signal(number)
    process.wait(30)
    deadline = time.monotonic() + 30
    while left := processes_of(checkout):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
