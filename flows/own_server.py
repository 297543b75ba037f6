"""A Prefect server for one flow run, where no other runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.server import HOST, free_port, start_process, stop_process, wait_until_answers


@contextmanager
def own_server() -> Iterator[str]:
    """Runs a server for the length of the block; yields its API address.

    Prefect would start one by itself, which stays when this process is killed. This one leaves.

    Raises:
        InputError: it does not start.
    """
    port = free_port(0)
    address = f"http://{HOST}:{port}"
    log = Path(os.environ["PREFECT_HOME"]) / "own-server.log"
    process = start_process(
        [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--no-services"],
        log,
        PREFECT_SERVER_API_HOST=HOST,
        PREFECT_SERVER_API_PORT=str(port),
        PREFECT_SERVER_CORS_ALLOWED_ORIGINS=address,  # no page asks it
    )
    try:
        wait_until_answers(process, f"{address}/api/health", log)
        yield f"{address}/api"
    finally:
        stop_process(process)
