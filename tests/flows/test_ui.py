from __future__ import annotations

import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

import psutil
import pytest

from tests.flows.conftest import Checkout, processes_of


def start_ui(checkout: Checkout, **settings: str) -> tuple[subprocess.Popen[str], str]:
    """The process, and what it says when all is served."""
    process = subprocess.Popen(
        ["python", "-m", "flows.ui"],
        cwd=checkout.folder,
        env=checkout.environment(**settings),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    text = ""
    while "Ctrl-C" not in text:
        line = process.stdout.readline()
        assert line, text
        text += line
    return process, text


@pytest.mark.slow
def test_a_tracker_elsewhere_is_named_without_its_password_and_not_served(
    checkout: Checkout, prefect_url: str
) -> None:
    elsewhere = "http://user:secret@127.0.0.1:9"
    process, text = start_ui(checkout, MLFLOW_TRACKING_URI=elsewhere, PREFECT_API_URL=prefect_url)
    assert "MLflow    http://***@127.0.0.1:9\n" in text
    assert "secret" not in text
    assert not psutil.Process(process.pid).children()
    process.send_signal(signal.SIGINT)
    assert process.wait(40) == 0


@pytest.mark.slow
def test_both_servers_answer_and_stop(checkout: Checkout) -> None:
    process, text = start_ui(checkout)
    addresses = re.findall(r"http://127\.0\.0\.1:\d+", text)
    assert len(addresses) == 2
    for address in addresses:
        with urllib.request.urlopen(address) as page:
            assert b"<html" in page.read().lower()
    assert (checkout.folder / ".prefect/server.json").exists()
    assert listening(checkout) == {"127.0.0.1"}
    rebound = urllib.request.Request(addresses[1], headers={"Host": "example.org"})
    with pytest.raises(urllib.error.HTTPError, match="403"):  # MLflow's own check
        urllib.request.urlopen(rebound)
    process.send_signal(signal.SIGINT)
    assert process.wait(40) == 0
    deadline = time.monotonic() + 10
    while processes_of(checkout):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def listening(checkout: Checkout) -> set[str]:
    """The addresses at which this checkout's processes take connections."""
    return {
        connection.laddr.ip
        for process in processes_of(checkout)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
