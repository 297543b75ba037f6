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


@pytest.mark.slow
def test_both_servers_answer_and_stop(checkout: Checkout) -> None:
    process = subprocess.Popen(
        ["python", "-m", "flows.ui"],
        cwd=checkout.folder,
        env=checkout.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    text = ""
    while "Ctrl-C" not in text:
        line = process.stdout.readline()
        assert line, text
        text += line
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
