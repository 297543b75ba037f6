"""Several hosts: network namespaces with a cable between them, two workers in each."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ebcore.data.convert import convert
from ebcore.errors import InputError
from ebcore.params import Params
from ebcore.train.hosts import place as place_of
from ebcore.train.job import make_job
from ebcore.train.launch import run_training
from ebcore.workspace import BETON

if TYPE_CHECKING:
    from tests.train.conftest import Place

ROOT = Path(__file__).parents[2]
FINAL = Path("checkpoints/train_one.safetensors")
TRAIN = (
    "from ebcore.errors import exit_on_input_error\n"
    "from ebcore.params import load_params\n"
    "from ebcore.train.launch import run_training\n"
    "with exit_on_input_error():\n"
    "    run_training('train_one', 1, load_params())\n"
)


def ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr)
    return done.stdout


@dataclass
class Host:
    """A network namespace with an address."""

    name: str
    address: str
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *command: str, log: Path, **settings: str) -> subprocess.Popen[str]:
        with open(log, "a") as output:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command],
                env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.started.append(process)
        return process

    def die(self) -> None:
        """Everything that runs on it ends in the same moment."""
        while pids := [int(pid) for pid in ip("netns", "pids", self.name).split()]:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            for process in self.started:
                process.wait(10)


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    if not sys.platform.startswith("linux") or os.geteuid() or not shutil.which("ip"):
        pytest.skip("network namespaces need Linux, root and iproute2")
    number = os.getpid()
    first = Host(f"eb{number}a", "10.201.7.1")
    second = Host(f"eb{number}b", "10.201.7.2")
    made: list[Host] = []
    try:
        try:
            for host in (first, second):
                ip("netns", "add", host.name)
                made.append(host)
                ip("-n", host.name, "link", "set", "lo", "up")
            cable = ("link", "add", "cable", "type", "veth", "peer", "name", "cable")
            ip("-n", first.name, *cable, "netns", second.name)
            for host in (first, second):
                ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "cable")
                ip("-n", host.name, "link", "set", "cable", "up")
        except OSError as error:
            pytest.skip(f"no network namespaces here: {error}")
        yield first, second
    finally:
        for host in made:
            host.die()
            ip("netns", "del", host.name)


class Pair:
    """The same stage on two hosts with one shared folder."""

    def __init__(self, hosts: tuple[Host, Host], folder: Path, wait: int) -> None:
        self.first, self.second = hosts
        self.logs = folder / "first.log", folder / "second.log"
        self.settings = {
            "EBCORE_HOSTS": "2",
            "EBCORE_RENDEZVOUS": f"{self.first.address}:29400",
            "EBCORE_WAIT": str(wait),
        }

    def train(self) -> subprocess.Popen[str]:
        return self.first.start(sys.executable, "-c", TRAIN, log=self.logs[0], **self.settings)

    def join(self) -> subprocess.Popen[str]:
        command = (sys.executable, "-m", "ebcore.train.join", "train_one")
        return self.second.start(*command, log=self.logs[1], **self.settings)


def tiny(place: Place) -> Params:
    changes: dict[str, Any] = {"workers": 4, "checkpoint_seconds": 0.05}
    changes["data"] = {**place.content["data"], "loader": "folder"}  # starts faster
    changes["train_one"] = {**place.content["train_one"], "epochs": 12, "mixup": 0.2, "ema": 0.9}
    params = place.params(**changes)
    convert(Path("images"), BETON, params.prepare, "folder", name="bands", progress=False)
    return params


def step_of(folder: Path) -> int:
    """Of the newest state."""
    return max((int(path.stem.split("-")[1]) for path in folder.glob("state-*")), default=0)


def wait_for(condition: Callable[[], bool], logs: tuple[Path, Path], seconds: float = 120) -> float:
    start = time.monotonic()
    while not condition():
        told = [log.read_text() for log in logs if log.exists()]
        assert time.monotonic() - start < seconds, told
        time.sleep(0.05)
    return time.monotonic() - start


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hosts_train_as_one_also_when_the_second_dies_and_comes_back(
    place: Place, hosts: tuple[Host, Host]
) -> None:
    params = tiny(place)
    folder = make_job("train_one", 1, params).folder
    run_training("train_one", 1, params, on_line=lambda line: None)
    expected = FINAL.read_bytes()

    def again() -> None:
        FINAL.unlink()
        (folder / "final.safetensors").unlink()  # else it would be published again

    again()
    pair = Pair(hosts, place.folder, wait=120)
    first, second = pair.train(), pair.join()
    assert (first.wait(300), second.wait(60)) == (0, 0), pair.logs[0].read_text()
    assert FINAL.read_bytes() == expected
    text = pair.logs[0].read_text()
    assert "epoch 12/12" in text and "restart" not in text  # rank 0 is on the first host

    again()
    first, second = pair.train(), pair.join()
    wait_for(lambda: 0 < step_of(folder) < 60, pair.logs)
    hosts[1].die()
    wait_for(lambda: "restart 1 of 3" in pair.logs[0].read_text(), pair.logs)
    second = pair.join()
    assert (first.wait(300), second.wait(60)) == (0, 0), pair.logs[0].read_text()
    assert FINAL.read_bytes() == expected
    assert re.search(
        r"worker [01] lost the others; restart 1 of 3 from step \d+\n", pair.logs[0].read_text()
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_second_host_that_vanishes_ends_the_run_in_bounded_time(
    place: Place, hosts: tuple[Host, Host]
) -> None:
    params = tiny(place)
    folder = make_job("train_one", 1, params).folder
    pair = Pair(hosts, place.folder, wait=60)
    first = pair.train()
    pair.join()
    wait_for(lambda: 0 < step_of(folder) < 60, pair.logs)
    ip("-n", hosts[1].name, "link", "set", "cable", "down")  # as with a cable that is pulled
    vanished = time.monotonic()
    # a collective's wait, then the rendezvous's
    assert first.wait(2 * 60 + 60) == 2
    print(f"ended {time.monotonic() - vanished:.0f} s after the cable was pulled")
    last = pair.logs[0].read_text().splitlines()[-1]
    assert last.startswith("error: workers: fewer than 2 hosts came within 60 s")
    assert "python -m ebcore.train.join STAGE" in last and str(folder) in last
    assert step_of(folder) > 0 and not FINAL.exists()


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        (None, "is no HOST:PORT"),
        ("node0", "is no HOST:PORT"),
        ("no-such-host.invalid:29400", "leads nowhere"),
    ],
)
def test_a_rendezvous_that_makes_no_sense_is_refused(endpoint: str | None, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        place_of(endpoint)
    assert caught.value.subject == f"EBCORE_RENDEZVOUS={endpoint or ''}"


def test_the_first_host_is_the_one_with_the_rendezvous(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = place_of("127.0.0.1:29400")
    assert (here.address, here.interface, here.is_first) == ("127.0.0.1", "lo", True)
    monkeypatch.setenv("EBCORE_HOSTS", "2")
    monkeypatch.setenv("EBCORE_RENDEZVOUS", "192.0.2.1:29400")  # a documentation address
    with pytest.raises(InputError, match=r"is another host|leads nowhere"):
        run_training("train_one", 1, place.params(workers=2))


@pytest.mark.parametrize(("hosts", "workers"), [("0", 2), ("two", 2), ("3", 4)])
def test_hosts_that_cannot_share_the_workers_are_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch, hosts: str, workers: int
) -> None:
    monkeypatch.setenv("EBCORE_HOSTS", hosts)
    with pytest.raises(InputError, match=f"EBCORE_HOSTS={hosts}"):
        run_training("train_one", 1, place.params(workers=workers))
