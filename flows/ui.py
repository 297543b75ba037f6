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
from flows.environment import remote_tracker, tracking_uri
from flows.mask import mask
from flows.server import (
    HOST,
    free_port,
    page_of,
    prefect_server,
    refuses,
    running_server,
    start_process,
    stop_process,
    wait_until_answers,
)
from flows.work import EXPERIMENT

_HOW = f"""
  Prefect   {{prefect}}/runs
            every stage that ran, with its log
  MLflow    {{mlflow}}
            experiment "{EXPERIMENT}": a run per expert count, with a run per stage below it. To
            compare expert counts, type   tags.stage = "branch"   into the search box and choose
            Columns; for curves   tags.stage = "train_binary", tick the runs, press Compare.
            Models (in the mode "Model training"): every packed network, with its figures.

Ctrl-C stops both.
"""


def main() -> int:
    """Serves both pages; returns 0 when stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with exit_on_input_error(), ExitStack() as servers:
        try:
            print("Starting (some seconds) ...", flush=True)
            prefect = running_server() or servers.enter_context(prefect_server())
            mlflow = remote_tracker() or servers.enter_context(mlflow_server())
            print(_HOW.format(prefect=page_of(prefect), mlflow=mask(mlflow)), flush=True)
            while True:
                time.sleep(2)
                if refuses(prefect):  # it was a `make repro`'s, now over
                    try:
                        prefect = servers.enter_context(prefect_server())
                    except InputError as error:
                        print(f"warning: {error}", file=sys.stderr)
                        continue
                    print(f"Prefect: {page_of(prefect)}/runs", flush=True)
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
        *("--artifacts-destination", str(main_checkout() / "mlruns")),
        *("--workers", "1"),  # each takes half a gigabyte
    ]
    process: subprocess.Popen[bytes] = start_process(
        command,
        log,
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        MLFLOW_BACKEND_STORE_URI=tracking_uri(),  # may hold a password: not for `ps`
    )
    try:
        wait_until_answers(process, f"{url}/health", log)
        yield url
    finally:
        stop_process(process)


if __name__ == "__main__":
    sys.exit(main())
