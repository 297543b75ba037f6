"""`make serve`: runs what the Prefect page starts, retries or cancels, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
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
from urllib.parse import urlsplit

from prefect import Flow, get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import EntrypointType
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL, temporary_settings

from ebcore.ablation.files import ABLATION
from ebcore.errors import InputError, exit_on_input_error
from ebcore.growth.files import GROWTH
from flows.graph import PIPELINE
from flows.pipeline import pipeline
from flows.server import (
    HOST,
    check_answers,
    page_of,
    prefect_server,
    refusal_explained,
    refuses,
    running_server,
)
from flows.sweep import sweep

DEPLOYMENT = "local"
_SWEEP_SECONDS = 15.0
_SERVER_SECONDS = 2.0  # Prefect's runner gives up when its server is away for half a minute
_MODULE = re.compile(r"\bpython -m (\S+)")


def main() -> int:
    """Serves until stopped; returns 0."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with exit_on_input_error(), ExitStack() as stack:
        studies = (str(folder / "dvc.yaml") for folder in (GROWTH, ABLATION))
        flows = [*stage_flows(PIPELINE, *studies), pipeline]
        url = running_server() or stack.enter_context(prefect_server())
        check_answers(url)
        stack.enter_context(temporary_settings({PREFECT_API_URL: url}))
        names = [flow.name for flow in flows]
        with refusal_explained(url):
            _sweep(names)
        leaving = threading.Event()
        stack.callback(leaving.set)  # before the server goes
        keeps: list[tuple[Any, ...]] = [(_keep_sweeping, leaving, names)]
        if "PREFECT_API_URL" not in os.environ:  # that one is not ours to start
            keeps.append((_keep_server, leaving, url, stack))
        for keep in keeps:
            here = copy_context()  # has the server's address
            threading.Thread(target=here.run, args=keep, daemon=True).start()
        page = f"{page_of(url)}/deployments"
        print(f"Serving {len(names)} deployments at {page}; Ctrl-C stops.", flush=True)
        try:
            asyncio.run(_serve(flows))
        except Exception as error:
            if not refuses(url):
                raise
            reason, remedy = "the Prefect server is gone", "Start it, then `make serve` again."
            raise InputError(page_of(url), reason, remedy) from error
    return 0


def stage_flows(*pipelines: str) -> list[Flow[..., Any]]:
    """The flow behind each command of these files, also of stages that have no item now."""
    modules: dict[str, None] = {}
    for path in filter(Path.is_file, map(Path, pipelines)):
        modules |= dict.fromkeys(_MODULE.findall(path.read_text(encoding="utf-8")))
    return [getattr(import_module(name), name.rpartition(".")[2]) for name in modules]


async def _serve(flows: list[Flow[..., Any]]) -> None:
    """Until a signal, which cancels what runs; Prefect's own `serve` leaves its state Running.

    One run at a time: only the pipeline's flow shares out GPUs and keeps timings undisturbed.
    """
    runner = Runner(pause_on_shutdown=False, limit=1)
    for flow in flows:
        await runner.aadd_deployment(await _deployment(flow))
    served = asyncio.create_task(runner.start())
    while not runner.started and not served.done():
        await asyncio.sleep(0.1)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # now that the runner has set its own handler
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([served, stopped], return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        print("\nStopping.", flush=True)
        await runner.astop()
    await served


async def _deployment(flow: Flow[..., Any]) -> RunnerDeployment:
    """`<flow>/local`, found again by its module: a runner loads it in a process of its own."""
    return await flow.ato_deployment(DEPLOYMENT, entrypoint_type=EntrypointType.MODULE_PATH)


def _sweep(flows: Iterable[str]) -> None:
    with get_client(sync_client=True) as client:
        for run in sweep(client, flows):
            print(f"{run.name}: its process is gone, Retry is there", flush=True)


def _keep_sweeping(leaving: threading.Event, flows: list[str]) -> None:
    while not leaving.wait(_SWEEP_SECONDS):
        try:
            _sweep(flows)
        except Exception as error:  # a server that is slow or gone for a while
            print(f"warning: Prefect: {type(error).__name__}: {error}", file=sys.stderr)


def _keep_server(leaving: threading.Event, url: str, servers: ExitStack) -> None:
    """Starts the server again, at the same address, when the `make ui` that had it has stopped."""
    address = urlsplit(url)
    while address.hostname == HOST and not leaving.wait(_SERVER_SECONDS):
        if not refuses(url):
            continue
        try:
            found = servers.enter_context(prefect_server(address.port or 0))
        except InputError as error:
            print(f"warning: {error}", file=sys.stderr)
            continue
        if found == url:
            print(f"Prefect: {page_of(url)}/runs", flush=True)


if __name__ == "__main__":
    sys.exit(main())
