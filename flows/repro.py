"""`make repro`: brings every stage up to date, watched by a Prefect server; says what came out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import psutil
from rich.console import Console

from ebcore.errors import InputError, exit_on_input_error
from ebcore.params import Params, load_params
from ebcore.processes import leave_with_parent
from ebcore.workspace import REPORT
from flows.dvc_process import LEAVE_SECONDS
from flows.environment import dvc_environment
from flows.server import page_of, prefect_server, running_server
from flows.stage import ERROR_FILE
from flows.summary import results_tables

_DVC = [sys.executable, "-m", "dvc"]


def main() -> int:
    """Returns the exit code: 0, or 1 with the failing stage's error as the last line."""
    with exit_on_input_error():
        params = load_params()
        check_folder(params)
        if up_to_date("dvc.yaml"):
            print("Every stage is up to date.")
        elif code := reproduce("dvc.yaml"):
            return code
    _say_results(params)
    return 0


def check_folder(params: Params) -> None:
    """Refuses to start without images: DVC's words say neither why it needs them nor what to do.

    Raises:
        InputError: data.folder is missing and no stage makes it.
    """
    folder = Path(params.data.folder)
    made = {Path("data/raw") / source for source in params.data.fetch}
    if folder not in made and not folder.is_dir():
        raise InputError(
            folder,
            "no such folder",
            "Put train/<class>/*.JPEG and val/<class>/*.JPEG there, or set data.folder.",
        )


def up_to_date(pipeline: str) -> bool:
    """Whether the stages of a dvc.yaml, and those they need, have nothing to do."""
    command = [*_DVC, "status", "--quiet", "--with-deps", pipeline]
    return subprocess.run(command).returncode == 0


def reproduce(pipeline: str) -> int:
    """Runs what is out of date of a dvc.yaml under a Prefect server; 0, or 1 after a failure."""
    server = running_server()
    with (
        nullcontext(server) if server else prefect_server() as url,
        tempfile.NamedTemporaryFile("r", encoding="utf-8") as error,
    ):
        print(f"Stages and their logs: {page_of(url)}/runs", flush=True)
        code = _run_dvc(pipeline, error.name)
        reason = error.read()
    if code and reason:
        print(reason, file=sys.stderr)
    return 1 if code else 0


def _run_dvc(pipeline: str, error_file: str) -> int:
    """Runs `dvc repro`; returns its exit code when its stages have left, too.

    Each stage looks for the server itself, and goes on without one that has stopped.
    """
    parent = os.getpid()
    process = psutil.Popen(
        [*_DVC, "repro", pipeline],
        env={**dvc_environment(), ERROR_FILE: error_file},
        preexec_fn=lambda: leave_with_parent(parent),
    )
    stages: list[psutil.Process] = []

    def stop(*_: object) -> None:
        stages.extend(process.children(recursive=True))
        process.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # DVC has it too, and lets its stage end
    code: int = process.wait()
    psutil.wait_procs(stages, LEAVE_SECONDS)  # they tell the server how they ended
    return code


def _say_results(params: Params) -> None:
    print()
    for table in results_tables(params):
        Console().print(table)
    print()
    print(f"Report:   {Path(REPORT / 'index.html').resolve()}")
    print("Compare:  make ui   (Prefect: stages and logs; MLflow: curves by expert count)")


if __name__ == "__main__":
    sys.exit(main())
