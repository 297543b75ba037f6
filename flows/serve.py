"""`make serve`: runs what the Prefect page starts, retries or cancels, until Ctrl-C."""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from contextvars import copy_context
from importlib import import_module
from pathlib import Path
from typing import Any

from prefect import Flow, get_client, serve
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import EntrypointType
from prefect.settings import PREFECT_API_URL, temporary_settings

from ebcore.errors import InputError, exit_on_input_error
from ebcore.growth.files import GROWTH
from ebcore.params import load_params
from flows.gpus import default_slots, visible_gpus
from flows.graph import PIPELINE
from flows.pipeline import pipeline
from flows.server import prefect_server, refuses, running_server
from flows.sweep import sweep

DEPLOYMENT = "local"
_SWEEP_SECONDS = 15.0
_MODULE = re.compile(r"\bpython -m (\S+)")


def main() -> int:
    """Serves until stopped; returns 0."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with exit_on_input_error(), ExitStack() as stack:
        params = load_params()
        flows = [*stage_flows(PIPELINE, str(GROWTH / "dvc.yaml")), pipeline]
        url = running_server() or stack.enter_context(prefect_server())
        if refuses(url):
            raise InputError(
                url, "no Prefect server answers", "Start it, or unset PREFECT_API_URL."
            )
        stack.enter_context(temporary_settings({PREFECT_API_URL: url}))
        names = [flow.name for flow in flows]
        _sweep(names)
        here = copy_context()  # has the server's address
        threading.Thread(target=here.run, args=(_keep_sweeping, names), daemon=True).start()
        page = url.removesuffix("/api")
        print(f"Serving {len(names)} deployments at {page}/deployments; Ctrl-C stops.", flush=True)
        serve(
            *map(_deployment, flows),
            pause_on_shutdown=False,
            limit=default_slots(visible_gpus(), params.workers),
            print_starting_message=False,
        )
    return 0


def stage_flows(*pipelines: str) -> list[Flow[..., Any]]:
    """The flow behind each command of these files, also of stages that have no item now."""
    modules: dict[str, None] = {}
    for path in filter(Path.is_file, map(Path, pipelines)):
        modules |= dict.fromkeys(_MODULE.findall(path.read_text(encoding="utf-8")))
    return [getattr(import_module(name), name.rpartition(".")[2]) for name in modules]


def _deployment(flow: Flow[..., Any]) -> RunnerDeployment:
    """`<flow>/local`, found again by its module: a runner loads it in a process of its own."""
    made = flow.to_deployment(DEPLOYMENT, entrypoint_type=EntrypointType.MODULE_PATH)
    assert isinstance(made, RunnerDeployment)  # no coroutine: nothing here is asynchronous
    return made


def _sweep(flows: Iterable[str]) -> None:
    with get_client(sync_client=True) as client:
        for run in sweep(client, flows):
            print(f"{run.name}: its process is gone, Retry is there", flush=True)


def _keep_sweeping(flows: list[str]) -> None:
    pause = threading.Event()
    while not pause.wait(_SWEEP_SECONDS):
        try:
            _sweep(flows)
        except Exception as error:  # a server that is slow or gone for a while
            print(f"warning: Prefect: {type(error).__name__}: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
