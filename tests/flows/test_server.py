from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.process_id import this_process
from flows.server import HOST, refuses, running_server


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and answers none: it is busy."""
    with socket.create_server((HOST, 0)) as server:
        yield f"http://{HOST}:{server.getsockname()[1]}/api"


@pytest.fixture
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return tmp_path / "server.json"


def test_a_busy_server_is_there(silent: str, note: Path) -> None:
    assert not refuses(silent)
    note.write_text(json.dumps({"url": silent, "process": this_process()}))
    assert running_server() == silent


def test_another_program_at_its_port_is_not_it(silent: str, note: Path) -> None:
    host, pid, _ = this_process().split(":")
    note.write_text(json.dumps({"url": silent, "process": f"{host}:{pid}:0"}))
    assert running_server() is None


def test_where_nothing_listens_is_no_server(note: Path) -> None:
    assert refuses("http://127.0.0.1:9/api")
    note.write_text(json.dumps({"url": "http://127.0.0.1:9/api", "process": this_process()}))
    assert running_server() is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": 1}'])
def test_a_note_that_says_nothing_is_no_server(note: Path, text: str) -> None:
    note.write_text(text)
    assert running_server() is None


@pytest.mark.parametrize(
    ("url", "port"),
    [("http://team/api", 80), ("https://team/api", 443), ("http://team:4200/api", 4200)],
)
def test_an_address_without_a_port_has_its_scheme_s(
    url: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def connect(address: tuple[str, int], timeout: float) -> None:
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.create_connection", connect)
    assert refuses(url)
    assert asked == [("team", port)]
