"""A stop that Python drops is kept."""

from __future__ import annotations

import signal
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ebcore.train.job import make_job
from ebcore.train.launch import run_training
from ebcore.train.signals import Stops

if TYPE_CHECKING:
    from tests.train.conftest import Place

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Stop(BaseException):
    """What a handler raises."""


class Referred:
    """Something to refer to."""


@pytest.fixture(params=[signal.SIGTERM, signal.SIGINT])
def number(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """A signal whose handler raises `Stop`."""

    def handler(*_: object) -> None:
        raise Stop

    before = signal.signal(request.param, handler)
    yield request.param
    signal.signal(request.param, before)


def lose(number: signal.Signals) -> None:
    """The signal arrives where what its handler raises is dropped."""
    referred = Referred()
    reference = weakref.ref(referred, lambda _: signal.raise_signal(number))
    del referred
    assert reference() is None


def test_a_lost_stop_is_raised_again_once(number: signal.Signals) -> None:
    with Stops() as stops:
        stops.raise_again()
        lose(number)
        with pytest.raises(Stop):
            stops.raise_again()
        stops.raise_again()
    lose(number)  # outside: nobody asks


def test_other_signals_are_no_stops() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    with Stops() as stops:
        signal.raise_signal(signal.SIGUSR1)
        stops.raise_again()
    signal.signal(signal.SIGUSR1, before)


def test_who_watched_before_watches_after() -> None:
    with Stops() as outer:
        with Stops():
            pass
        assert signal.set_wakeup_fd(-1) == outer._write


@pytest.mark.slow
def test_a_lost_stop_stops_training(place: Place, number: signal.Signals) -> None:
    params = place.params(checkpoint_seconds=0.05)
    lost: list[int] = []

    def on_record(record: dict[str, Any]) -> None:
        if record["event"] == "checkpoint" and not lost:
            lost.append(record["step"])
            lose(number)

    with pytest.raises(Stop):
        run_training("train_one", 1, params, on_line=lambda line: None, on_record=on_record)
    folder = make_job("train_one", 1, params).folder
    assert lost and list(folder.glob("state-*"))
    assert not (folder / "final.safetensors").exists()
    assert not Path("checkpoints/train_one.safetensors").exists()
