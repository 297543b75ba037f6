"""`make ui`: the Prefect and MLflow pages on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ebcore.errors import InputError, exit_on_input_error
from ebcore.workspace import main_checkout
from flows.environment import tracking_uri
from flows.server import (
    HOST,
    free_port,
    prefect_server,
    refuses,
    running_server,
    start_process,
    stop_process,
    wait_until_answers,
)
from flows.work import METHOD

_HOW = f"""
  Prefect   {{prefect}}/runs
            every stage that ran, with its log
  MLflow    {{mlflow}}
            experiment "{METHOD}": a run per stage and expert count. To compare expert counts,
            type   tags.stage = "train_binary"   into the search box, tick the runs, press
            Compare; or press Group by and choose the tag "experts".

Ctrl-C stops both.
"""


def main() -> int:
    """Serves both pages; returns 0 when stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with exit_on_input_error(), ExitStack() as servers:
        try:
            print("Starting (some seconds) ...", flush=True)
            prefect = running_server() or servers.enter_context(prefect_server())
            mlflow = servers.enter_context(mlflow_server())
            print(_HOW.format(prefect=prefect.removesuffix("/api"), mlflow=mlflow), flush=True)
            while True:
                time.sleep(2)
                if refuses(prefect):  # it was a `make repro`'s, now over
                    try:
                        prefect = servers.enter_context(prefect_server())
                    except InputError as error:
                        print(f"warning: {error}", file=sys.stderr)
                        continue
                    print(f"Prefect: {prefect.removesuffix('/api')}/runs", flush=True)
        except KeyboardInterrupt:
            print("\nStopping.")
    return 0


@contextmanager
def mlflow_server(port: int = 5000) -> Iterator[str]:
    """Runs an MLflow server on the checkout's tracker for the length of the block; its address."""
    port = free_port(port)
    url, log = f"http://{HOST}:{port}", Path(os.environ["PREFECT_HOME"]) / "mlflow.log"
    command = [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--host", HOST, "--port", str(port)),
        *("--backend-store-uri", tracking_uri()),
        *("--artifacts-destination", str(main_checkout() / "mlruns")),
        *("--workers", "1"),  # each takes half a gigabyte
    ]
    process: subprocess.Popen[bytes] = start_process(
        command, log, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"
    )
    try:
        wait_until_answers(process, f"{url}/health", log)
        yield url
    finally:
        stop_process(process)


if __name__ == "__main__":
    sys.exit(main())
