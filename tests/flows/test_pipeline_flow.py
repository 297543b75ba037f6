"""The whole graph as one flow: branches side by side, a failing one, and what is up to date."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling

from flows.server import prefect_server
from tests.flows.conftest import Checkout, make_checkout, processes_of, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PATIENCE = 150.0  # s
COUNTS = (1, 2, 3)

# A step notes when it began and ended; in mode "wait" the first of a branch never ends.
STEP = """
import sys, time
from pathlib import Path
import flows  # leaves with DVC
name = sys.argv[1]
mode = Path("mode").read_text().strip()
began = time.time()
print(f"{name} works", flush=True)
if mode == f"fail {name}":
    sys.exit(f"error: {name}: is no image. Remove it.")
if mode == "wait" and name.startswith("begin"):
    Path(f"waiting-{name}").touch()
    time.sleep(600)
time.sleep(1 if name == "start" else 6)
Path("out").mkdir(exist_ok=True)
Path("out", name).write_text(name)
Path("times").mkdir(exist_ok=True)
Path("times", name).write_text(f"[{began}, {time.time()}]")
"""

DVC_YAML = """
stages:
  start:
    cmd: exec python step.py start
    outs: [out/start]
  begin:
    matrix: {experts: [1, 2, 3]}
    cmd: exec python step.py begin-${item.experts}
    deps: [out/start, "mode-${item.experts}"]
    outs: ["out/begin-${item.experts}"]
  end:
    matrix: {experts: [1, 2, 3]}
    cmd: exec python step.py end-${item.experts}
    deps: ["out/begin-${item.experts}"]
    outs: ["out/end-${item.experts}"]
    meta: {alone: true}
  last:
    cmd: exec python step.py last
    deps: [out/end-1, out/end-2, out/end-3]
    outs: [out/last]
"""
STAGES = {f"{stage}@{n}" for stage in ("begin", "end") for n in COUNTS} | {"start", "last"}


class Pipeline:
    """A checkout of eight small stages and the server that its runs are noted with."""

    def __init__(self, checkout: Checkout, url: str) -> None:
        self.checkout, self.url = checkout, url

    def command(self) -> tuple[str, ...]:
        return "python", "-m", "flows.pipeline", "2"

    def run(self) -> subprocess.CompletedProcess[str]:
        return self.checkout.run(*self.command(), PREFECT_API_URL=self.url)

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        here = temporary_settings({PREFECT_API_URL: self.url})
        with here, get_client(sync_client=True) as client:
            return getattr(client, method)(*arguments, **options)

    def newest(self) -> FlowRun:
        return max(self.ask("read_flow_runs"), key=lambda run: run.created)

    def tasks(self) -> dict[str, TaskRun]:
        """Task runs of the newest pipeline run, by stage, when the server has all of them."""
        own = FlowRunFilter(id=FlowRunFilterId(any_=[self.newest().id]))
        wait_for(
            lambda: all(
                task.state and not task.state.is_running()
                for task in self.ask("read_task_runs", flow_run_filter=own)
            )
        )
        return {task.name: task for task in self.ask("read_task_runs", flow_run_filter=own)}

    def times(self, name: str) -> tuple[float, float]:
        began, ended = json.loads((self.checkout.folder / "times" / name).read_text())
        return began, ended

    def is_clean(self) -> bool:
        return self.checkout.run("dvc", "status", "--quiet").returncode == 0


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    checkout = make_checkout(tmp_path_factory.mktemp("pipeline") / "checkout")
    (checkout.folder / "step.py").write_text(STEP)
    (checkout.folder / "dvc.yaml").write_text(DVC_YAML)
    for count in COUNTS:
        (checkout.folder / f"mode-{count}").write_text("0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(checkout.folder / ".prefect"))
        with prefect_server(port=0) as url:
            yield Pipeline(checkout, url)


def overlap(first: tuple[float, float], second: tuple[float, float]) -> bool:
    return first[0] < second[1] and second[0] < first[1]


def test_branches_run_side_by_side_and_a_failing_one_stops_no_other(pipeline: Pipeline) -> None:
    pipeline.checkout.set_mode("fail begin-2")
    done = pipeline.run()
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: begin@2 failed. Not begun: end@2, last.")
    assert last.endswith("error: begin-2: is no image. Remove it.")
    states = {name: task.state_name for name, task in pipeline.tasks().items()}
    assert states == dict.fromkeys(STAGES, "Completed") | {
        "begin@2": "Failed",
        "end@2": "NotReady",
        "last": "NotReady",
    }
    assert pipeline.newest().state_name == "Failed"
    assert overlap(pipeline.times("begin-1"), pipeline.times("begin-3"))
    # stages that measure time have the machine to themselves
    others = [pipeline.times(name) for name in ("begin-1", "begin-3")]
    ends = [pipeline.times(name) for name in ("end-1", "end-3")]
    assert not overlap(*ends)
    assert not any(overlap(end, other) for end in ends for other in others)


def test_the_second_run_does_the_rest_and_says_what_is_up_to_date(pipeline: Pipeline) -> None:
    pipeline.checkout.set_mode("good")
    done = pipeline.run()
    assert done.returncode == 0, done.stderr
    states = {name: task.state_name for name, task in pipeline.tasks().items()}
    assert states == dict.fromkeys(STAGES, "Up to date") | dict.fromkeys(
        ("begin@2", "end@2", "last"), "Completed"
    )
    assert pipeline.is_clean()
    lock = (pipeline.checkout.folder / "dvc.lock").read_text()
    done = pipeline.checkout.run("dvc", "repro")
    assert "Running stage" not in done.stdout  # a bare `dvc repro` agrees
    assert (pipeline.checkout.folder / "dvc.lock").read_text() == lock


def test_a_task_has_the_log_of_its_stage(pipeline: Pipeline) -> None:
    messages = [
        log.message for log in pipeline.ask("read_logs", LogFilter(), limit=200) if log.task_run_id
    ]
    for name in ("start", "begin-2", "last"):
        assert f"{name} works" in messages


def test_cancel_stops_every_branch(pipeline: Pipeline) -> None:
    pipeline.checkout.set_mode("wait")
    for count in COUNTS:
        (pipeline.checkout.folder / f"mode-{count}").write_text("1")
    before = set(processes_of(pipeline.checkout))
    process = pipeline.checkout.start(*pipeline.command(), PREFECT_API_URL=pipeline.url)
    waiting = lambda: list(pipeline.checkout.folder.glob("waiting-*"))  # noqa: E731
    wait_for(lambda: len(waiting()) == 2, PATIENCE)
    run = pipeline.newest()
    pipeline.ask("set_flow_run_state", run.id, Cancelling())
    assert process.wait(40) != 0
    assert pipeline.newest().state_name == "Cancelled"
    wait_for(lambda: set(processes_of(pipeline.checkout)) <= before, 20)
    assert len(waiting()) == 2  # the third did not begin
    assert not pipeline.is_clean()
