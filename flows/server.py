"""A local Prefect server: found if one runs for this checkout, else started and stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from ebcore.errors import InputError
from ebcore.files import atomic_write
from ebcore.processes import leave_with_parent
from flows.lock import locked
from flows.mask import mask
from flows.process_id import is_gone, process_id

HOST = "127.0.0.1"
_START_SECONDS = 120  # a first start makes the database
_STOP_SECONDS = 15
_ANSWER_SECONDS = 30.0
_ORIGINS = "PREFECT_SERVER_CORS_ALLOWED_ORIGINS"  # the user's, for a page at another address


def free_port(preferred: int) -> int:
    """`preferred` if nothing listens there, else any free port."""
    for port in (preferred, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise InputError(HOST, "no free port", "Stop a server that is no longer needed.")


def answers(url: str, seconds: float = 2.0) -> bool:
    """Whether an HTTP GET of `url` succeeds, or is refused for want of a password."""
    try:
        with urllib.request.urlopen(url, timeout=seconds):  # noqa: S310 - the user's own setting
            return True
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)  # a proxy's; the client has the password, or is told
    except (urllib.error.URLError, OSError):
        return False


def check_answers(url: str) -> None:
    """Waits for a server's health answer; a busy one takes its time.

    Raises:
        InputError: none came.
    """
    if not answers(f"{url}/health", _ANSWER_SECONDS):
        remedy = "Start it, or unset PREFECT_API_URL."
        raise InputError(mask(url), "no Prefect server answers", remedy)


@contextmanager
def refusal_explained(url: str) -> Iterator[None]:
    """Around requests to a server that may want a password.

    Raises:
        InputError: it does, and got none or another.
    """
    from prefect.exceptions import PrefectHTTPStatusError  # takes a second

    try:
        yield
    except PrefectHTTPStatusError as error:
        if error.response.status_code not in (401, 403):
            raise
        reason = "the Prefect server wants other credentials"
        remedy = "Set PREFECT_API_AUTH_STRING=USER:PASSWORD, or PREFECT_API_KEY."
        raise InputError(mask(url), reason, remedy) from error


def page_of(url: str) -> str:
    """Where a server's page is, to print."""
    return mask(url.removesuffix("/api"))


def refuses(url: str) -> bool:
    """Whether nothing listens at `url`; a server that is merely busy does, and counts as there."""
    address = urlsplit(url)
    port = address.port or {"https": 443}.get(address.scheme, 80)
    try:
        with socket.create_connection((address.hostname, port), timeout=5):
            return False
    except TimeoutError:
        return False
    except OSError:
        return True


def running_server() -> str | None:
    """The API address of the Prefect server to use, None if there is none.

    `PREFECT_API_URL` if the user has set it, else the server that `make ui`, `make serve` or
    `make repro` noted in `PREFECT_HOME`, while its process runs.
    """
    return os.environ.get("PREFECT_API_URL") or _noted_server()


def _noted_server() -> str | None:
    note = _read_note()
    url = note.get("url")
    if url is None or is_gone(note.get("process", "")) or refuses(url):
        return None
    return url


def start_process(command: list[str], log: Path, **settings: str) -> subprocess.Popen[bytes]:
    """Starts a server that outlives Ctrl-C in this terminal but not this process."""
    log.parent.mkdir(parents=True, exist_ok=True)
    parent = os.getpid()
    with open(log, "ab") as output:
        return subprocess.Popen(
            command,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: leave_with_parent(parent),
        )


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL to its session if that does not end it."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_answers(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Waits for a server that was just started.

    Raises:
        InputError: it ended or stays silent.
    """
    deadline = time.monotonic() + _START_SECONDS
    while not answers(url):
        if process.poll() is not None:
            raise InputError(url, f"the server ended with code {process.returncode}", f"See {log}.")
        if time.monotonic() > deadline:
            stop_process(process)
            raise InputError(url, f"no answer in {_START_SECONDS} s", f"See {log}.")
        time.sleep(0.1)
    if process.poll() is not None:  # what answers is somebody else's
        raise InputError(url, f"the server ended with code {process.returncode}", f"See {log}.")


@contextmanager
def prefect_server(port: int = 4200) -> Iterator[str]:
    """Runs a Prefect server for the length of the block; yields its API address.

    Or yields the server that another process of this checkout has started in the same moment.
    """
    with ExitStack() as server:
        with locked(_home() / "server.lock"):  # two would share a database
            url = _noted_server() or server.enter_context(_new_server(port))
        yield url


@contextmanager
def _new_server(port: int) -> Iterator[str]:
    port = free_port(port)
    # else any page that a browser shows could start runs here
    origins = f"http://{HOST}:{port},http://localhost:{port}"
    with _started(port, "server.log", os.environ.get(_ORIGINS, origins)) as (url, process):
        name = process_id(process.pid)
        try:
            with atomic_write(_note()) as note:
                json.dump({"url": url, "process": name}, note)
            yield url
        finally:
            if _read_note().get("process") == name:  # not that of a server which started later
                _note().unlink(missing_ok=True)


@contextmanager
def own_server() -> Iterator[str]:
    """Runs a server for one flow run, where no other runs; yields its API address.

    Prefect would start one by itself, which stays when this process is killed. This one leaves.

    Raises:
        InputError: it does not start.
    """
    from prefect.logging.handlers import APILogWorker  # a second, which a caller has spent

    port = free_port(0)
    origin = f"http://{HOST}:{port}"  # no page asks it
    with _started(port, "own-server.log", origin, "--no-ui", "--no-services") as (url, _):
        try:
            yield url
        finally:  # else Prefect sends the last log lines when the server has gone
            APILogWorker.drain_all(timeout=5)


@contextmanager
def _started(
    port: int, log_name: str, origins: str, *options: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Prefect server that answers, by its API address and process; stopped at the end."""
    url, log = f"http://{HOST}:{port}/api", _home() / log_name
    process = start_process(
        [sys.executable, "-m", "prefect", "server", "start", *options],
        log,
        # the page asks the host and port of these settings, not those of the command line
        PREFECT_SERVER_API_HOST=HOST,
        PREFECT_SERVER_API_PORT=str(port),
        **{_ORIGINS: origins},
    )
    try:
        wait_until_answers(process, f"{url}/health", log)
        yield url, process
    finally:
        stop_process(process)


def _home() -> Path:
    return Path(os.environ["PREFECT_HOME"])


def _note() -> Path:
    return _home() / "server.json"


def _read_note() -> dict[str, str]:
    try:
        content = json.loads(_note().read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
