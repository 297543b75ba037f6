"""Who may use the servers: this machine's pages, and with a password only who has it."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from flows.server import prefect_server
from tests.flows.conftest import Checkout

pytestmark = pytest.mark.slow
SECRET = "somebody:a-password"


def status(url: str, method: str = "GET", **headers: str) -> int:
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def preflight(url: str, origin: str) -> int:
    """What a browser asks before a page of `origin` may start a run."""
    headers = {"Access-Control-Request-Method": "POST", "Origin": origin}
    headers["Access-Control-Request-Headers"] = "content-type"
    return status(f"{url}/flow_runs/", "OPTIONS", **headers)


def test_pages_of_other_sites_may_not_ask_prefect(prefect_url: str) -> None:
    page = prefect_url.removesuffix("/api")
    assert preflight(prefect_url, page) == 200
    assert preflight(prefect_url, page.replace("127.0.0.1", "localhost")) == 200
    assert preflight(prefect_url, "https://example.org") == 400


def test_a_stage_runs_with_a_password_that_nobody_prints(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(checkout.folder / ".prefect"))
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", SECRET)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", SECRET)
    with prefect_server(port=0) as url:
        assert status(f"{url}/admin/version") == 401
        done = checkout.run("dvc", "repro", PREFECT_API_URL=url)
        assert done.returncode == 0, done.stderr
        assert "toy@4" in done.stdout + done.stderr
        checkout.set_mode("bad input")
        without = checkout.run(
            "dvc", "repro", PREFECT_API_URL=url, PREFECT_API_AUTH_STRING="somebody:wrong"
        )
    assert without.returncode != 0
    assert f"error: {url}: the Prefect server wants other credentials." in without.stderr
    assert "Traceback" not in without.stderr
    printed = done.stdout + done.stderr + without.stdout + without.stderr
    files = [path for path in checkout.folder.rglob("*") if path.is_file()]
    assert SECRET not in printed
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
