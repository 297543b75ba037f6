"""A training stage that is killed and stopped at many moments ends as the unbroken one."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from ebcore.train.state import newest_state
from flows.work import EXPERIMENT
from tests.flows.conftest import wait_for
from tests.flows.training_project import OUTPUT, PATIENCE, ROLES, STEPS, Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
INNER = {"EBCORE_INNER": "1"}  # as flows.pipeline starts a stage: no flow run, no server
START_UP = 3.0  # s, about what the slowest process takes to import what it needs


@dataclass(frozen=True)
class Moment:
    """`delay` s after the log tells of `step`; None: after the process of `role` has started."""

    step: int | None
    delay: float
    role: str


def moments(seed: int, count: int, roles: tuple[str, ...]) -> list[Moment]:
    """Every fifth at start-up, the others spread over the steps; each role in turn."""
    chosen = random.Random(seed)
    steps = sorted(chosen.randrange(STEPS * 9 // 10) for _ in range(count))
    order = [roles[number % len(roles)] for number in range(count)]
    chosen.shuffle(order)
    return [
        Moment(None, chosen.uniform(0, START_UP), role)
        if number % 5 == 0
        else Moment(step, chosen.uniform(0, 0.1), role)
        for number, (step, role) in enumerate(zip(steps, order, strict=True))
    ]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("survival") / "untrained")


@pytest.fixture(scope="module")
def unbroken(untrained: Project) -> bytes:
    """What an undisturbed run ends in."""
    project = untrained.copy(untrained.folder.with_name("unbroken"))
    finish(project)
    assert project.records()[-1]["step"] == STEPS
    return project.output()


@pytest.fixture
def project(untrained: Project, tmp_path: Path) -> Project:
    return untrained.copy(tmp_path / "project")


def finish(project: Project, **settings: str) -> str:
    """`dvc repro` to the end; returns what it printed."""
    with project.repro(**{**INNER, **settings}) as run:
        assert run.process.wait(PATIENCE) == 0, run.output()
        run.wait_gone()
        return run.output()


def interrupt(project: Project, moment: Moment, number: signal.Signals, **settings: str) -> str:
    """Starts the stage and sends a signal at that moment; returns what happened, in a line."""
    with project.repro(**settings) as run:
        if moment.step is None:
            run.wait_for_role("dvc" if moment.role == "all" else moment.role)
        else:
            run.wait_for_step(moment.step)
        time.sleep(moment.delay)
        assert run.send(moment.role, number), f"ended before {moment}: {run.output()}"
        step = project.step()
        seconds = run.wait_gone()
        assert run.process.returncode != 0
        assert not (project.folder / OUTPUT).exists()
    if number == signal.SIGTERM and moment.step is not None:
        assert project.records()[-1]["event"] == "checkpoint"  # the last thing it did
    where = "start-up" if moment.step is None else f"step {step}"
    return f"{number.name} {moment.role} at {where}: all gone after {seconds:.1f} s"


def test_killed_at_25_moments_it_ends_in_the_same_bytes(project: Project, unbroken: bytes) -> None:
    """Also: whichever process is killed, the others leave within 20 s."""
    for moment in moments(1, 25, (*ROLES, "all")):
        print(interrupt(project, moment, signal.SIGKILL, **INNER), flush=True)
    assert "goes on from epoch" in finish(project)
    assert project.output() == unbroken
    assert project.run("dvc", "status", "--quiet").returncode == 0
    client = MlflowClient(f"sqlite:///{project.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    points = client.get_metric_history(run.info.run_id, "step_loss")
    assert sorted(point.step for point in points) == list(range(10, STEPS + 1, 10))


def test_stopped_at_10_moments_it_ends_in_the_same_bytes(
    project: Project, unbroken: bytes, prefect_url: str
) -> None:
    for moment in moments(2, 10, ("dvc", "flow", "torchrun")):
        print(interrupt(project, moment, signal.SIGTERM, PREFECT_API_URL=prefect_url), flush=True)
        assert not running(prefect_url)
    assert "goes on from epoch" in finish(project)
    assert project.output() == unbroken


def running(url: str) -> list[str]:
    """Names of the flow runs that the server takes for running, when it has had time to learn."""
    with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:

        def found() -> list[str]:
            runs = client.read_flow_runs()
            return [run.name for run in runs if run.state is not None and run.state.is_running()]

        deadline = time.monotonic() + 10
        while found() and time.monotonic() < deadline:
            time.sleep(0.2)
        return found()


@pytest.mark.parametrize("role", ["dvc", "flow", "all"])
def test_killed_while_it_publishes_it_publishes_again(
    project: Project, unbroken: bytes, role: str
) -> None:
    with project.repro(**INNER) as run:
        wait_for(lambda: any(project.folder.glob(".runs/*/final.safetensors")), PATIENCE, 0.001)
        assert run.send(role, signal.SIGKILL)
        run.wait_gone()
    finish(project)
    assert project.output() == unbroken
    assert not project.states()
    assert project.run("dvc", "status", "--quiet").returncode == 0


def test_a_damaged_state_is_named_and_the_one_before_used(
    project: Project, unbroken: bytes
) -> None:
    interrupt(project, Moment(STEPS // 2, 0.0, "all"), signal.SIGKILL, **INNER)
    before, newest = project.states()
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    output = finish(project)
    assert f"damaged checkpoint left out: {newest}: was altered" in output
    assert f"step {int(before.stem.removeprefix('state-'))}" in output
    assert project.output() == unbroken


@pytest.fixture
def small_disk(project: Project) -> Iterator[SmallDisk]:
    """A disk of 12 MB, some states large, for `.runs`, in a mount namespace of its own."""
    (project.folder / ".runs").mkdir()
    script = 'mount -t tmpfs -o size=12m tmpfs "$1" && echo ready && exec sleep 900'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(project.folder / ".runs")]
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("no util-linux: a small disk cannot be mounted")
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stderr is not None
    try:
        if holder.stdout.readline() != "ready\n":
            pytest.skip(f"may not mount a small disk: {holder.stderr.read().strip()}")
        yield SmallDisk(project.folder, holder.pid)
    finally:
        holder.kill()
        holder.wait()


@dataclass(frozen=True)
class SmallDisk:
    """The project as the processes of the mount namespace see it, and from here."""

    place: Path
    holder: int

    @property
    def project(self) -> Project:
        return Project(Path(f"/proc/{self.holder}/root{self.place}"))

    @property
    def dvc(self) -> tuple[str, ...]:
        enter = ("nsenter", "--mount", f"--target={self.holder}")
        return (*enter, "sh", "-c", 'cd "$1" && exec dvc repro', "sh", str(self.place))

    def fill(self) -> None:
        """To the last byte."""
        with open(self.project.folder / ".runs/filler", "wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def empty(self) -> None:
        (self.project.folder / ".runs/filler").unlink()


def test_a_full_disk_is_named_and_costs_nothing_but_time(
    small_disk: SmallDisk, unbroken: bytes
) -> None:
    project = small_disk.project
    refusal = r"error: .*(state-\d+\.safetensors|log\.jsonl|job\.json|lock): cannot be written "
    refusal += r"\(No space left on device\)\. Free space"
    with project.repro(*small_disk.dvc, **INNER) as run:
        wait_for(lambda: len(project.states()) == 2 and project.step() > STEPS // 4, PATIENCE, 0.01)
        small_disk.fill()
        assert run.process.wait(PATIENCE) != 0
        run.wait_gone()
        assert re.search(refusal, run.output()), run.output()
    folder = project.run_directory
    assert folder is not None
    assert not list(folder.glob("error-*"))  # full as it is: what was printed is all there is
    step, damaged = newest_state(folder)
    assert step > STEPS // 4 - 10 and not damaged
    with project.repro(*small_disk.dvc, **INNER) as run:  # as full as before
        assert run.process.wait(PATIENCE) != 0
        assert re.search(refusal, run.output()), run.output()
    small_disk.empty()
    with project.repro(*small_disk.dvc, **INNER) as run:
        assert run.process.wait(PATIENCE) == 0, run.output()
        assert f"goes on from epoch {step // 10}, step {step}" in run.output()
    assert project.output() == unbroken


def test_of_two_starts_one_trains_and_one_refuses(project: Project, unbroken: bytes) -> None:
    dvc = ("dvc", "--wait-for-lock", "repro")  # in one moment, as flows.pipeline starts it
    with project.repro(*dvc, **INNER) as first, project.repro(*dvc, **INNER) as second:
        wait_for(
            lambda: first.process.poll() is not None or second.process.poll() is not None, PATIENCE
        )
        loser, winner = (first, second) if first.process.poll() is not None else (second, first)
        assert loser.process.returncode != 0
        assert f"(PID {winner.process.pid})" in loser.output()
        winner.wait_for_step(1)
        with project.repro(
            "python", "-m", "flows.train_one", **INNER, DVC_STAGE="train_one"
        ) as door:
            assert door.process.wait(PATIENCE) == 2
            flow = winner.find("flow")
            assert flow is not None
            assert f"the same training runs already in process {flow.pid}" in door.output()
        assert winner.process.wait(PATIENCE) == 0, winner.output()
    assert project.output() == unbroken
    assert project.run("dvc", "status", "--quiet").returncode == 0
