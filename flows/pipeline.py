"""The whole dvc.yaml as one Prefect flow: a task run per stage, branches side by side.

`dvc repro` does the same one stage after another. Each stage goes through DVC here, too, so
`dvc.lock` holds every result; it has its log in its task run and no flow run of its own.
"""

from __future__ import annotations

import queue
from collections.abc import Mapping
from typing import Any, cast

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed, State
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from ebcore.errors import InputError
from ebcore.params import load_params
from flows.dvc_process import ERROR, DvcProcesses
from flows.gpus import default_slots, share, visible_gpus
from flows.graph import Node, read_graph, startable
from flows.repro import check_folder
from flows.stage import count_as_done, main, run_log, watched

_MOST = 64  # stages at once; each is several processes
_THREADS: TaskRunner[PrefectFuture[Any]] = cast(Any, ThreadPoolTaskRunner(_MOST))


@flow(name="pipeline", flow_run_name="pipeline", log_prints=True, task_runner=_THREADS)
def pipeline(parallel: int | None = None) -> State[Any] | None:
    """Brings every stage up to date. A stage that fails holds up only those that need it.

    Args:
        parallel: how many stages may run at once; None is as many as the GPUs allow, at least one.
    """
    return watched(lambda: _run(parallel))


def _run(parallel: int | None) -> State[None] | None:
    params = load_params()
    check_folder(params)
    gpus = visible_gpus()
    slots = default_slots(gpus, params.workers) if parallel is None else parallel
    if not 1 <= slots <= _MOST:
        raise InputError("parallel", f"got {slots}", f"Use 1 to {_MOST}.")
    processes = DvcProcesses()
    try:
        ends = _Schedule(read_graph(), slots, gpus, processes).run()
    finally:
        processes.stop()  # of an interrupted run
    failed = [label for label, state in ends.items() if state.is_failed()]
    if not failed:
        count_as_done("pipeline")
        return None
    waiting = [label for label, state in ends.items() if not state.is_final()]
    reasons = " ".join(dict.fromkeys(ends[label].message or "" for label in failed))
    held = f" Not begun: {', '.join(waiting)}." if waiting else ""
    return Failed(message=f"{ERROR}{', '.join(failed)} failed.{held} {reasons}")


class _Schedule:
    """Starts stages as task runs when what they need is there and a slot is free."""

    def __init__(
        self, nodes: list[Node], slots: int, gpus: list[str], processes: DvcProcesses
    ) -> None:
        self._nodes, self._processes = nodes, processes
        self._slots, self._gpus = slots, gpus
        self._free = list(range(slots))
        self._running: dict[str, tuple[Node, int]] = {}  # label -> stage, slot
        self._futures: dict[str, PrefectFuture[Any]] = {}
        self._ends: dict[str, State[Any]] = {}
        self._ended: queue.Queue[str] = queue.Queue()

    def run(self) -> dict[str, State[Any]]:
        """Returns how each stage ended; one behind a failed stage stays Pending."""
        while len(self._ends) < len(self._nodes):
            running = [node for node, _ in self._running.values()]
            for node in startable(self._nodes, self._ends, running, self._slots):
                self._start(node)
            label = self._ended.get()
            _, slot = self._running.pop(label)
            self._free.append(slot)
            future = self._futures[label]
            future.wait()  # or its state is asked from the server, which learns of it later
            self._ends[label] = future.state
        return self._ends

    def _start(self, node: Node) -> None:
        slot = self._free.pop(0)
        self._running[node.label] = node, slot
        future = reproduce.submit(
            node.label,
            self._processes,
            share(self._gpus, slot, self._slots),
            wait_for=[self._futures[need] for need in node.needs],
            return_state=False,
        )
        self._futures[node.label] = future
        future.add_done_callback(lambda _: self._ended.put(node.label))


@task(task_run_name="{stage}", cache_policy=NO_CACHE)
def reproduce(stage: str, processes: DvcProcesses, settings: Mapping[str, str]) -> State[Any]:
    """One stage through DVC, its output as the task run's log."""
    outcome = processes.reproduce(stage, run_log(), settings=settings)
    if processes.stopped:
        return Cancelled(message="Stopped with the pipeline.")
    if outcome.reason:
        return Failed(message=outcome.reason)
    return Completed(name="Up to date") if outcome.up_to_date else Completed()


if __name__ == "__main__":
    main(pipeline)
