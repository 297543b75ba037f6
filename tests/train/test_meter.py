"""Throughput and waiting, with a clock that the test moves."""

from __future__ import annotations

import pytest
import torch

from ebcore.data.loader import Batch
from ebcore.train.meter import Lap, Meter
from ebcore.train.warner import Warner


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("ebcore.train.meter.time.monotonic", found)
    return found


def test_waiting_is_the_time_until_a_batch_is_there(clock: Clock) -> None:
    def batches():  # type: ignore[no-untyped-def]
        for seconds in (9.0, 1.0, 1.0):  # the first compiles, and is not counted
            clock.now += seconds
            yield Batch(torch.zeros(4, 3, 1, 1), torch.zeros(4), torch.zeros(4))

    meter = Meter()
    for batch in meter.arriving(batches()):
        clock.now += 3.0  # the step
        meter.step_done(len(batch.images))
        clock.now += 50.0  # a checkpoint is no training
    assert meter.lap("epoch") == Lap(images=12, seconds=11.0, waited=2.0)
    assert meter.lap("epoch") == Lap()


def test_laps_of_one_name_follow_each_other(clock: Clock) -> None:
    meter = Meter()
    for _ in meter.arriving([Batch(*[torch.zeros(1)] * 3)] * 2):
        clock.now += 2.0
        meter.step_done(10)
        assert meter.lap("record") == Lap(10, 2.0, 0.0)
    assert meter.lap("epoch") == Lap(20, 4.0, 0.0)


def test_numbers_by_hand() -> None:
    one = Lap(images=100, seconds=4.0, waited=1.0)
    assert one.values(processes=1) == {"images_per_second": 25, "data_wait": 0.25}
    both = Lap(images=200, seconds=8.0, waited=2.0)  # two such processes, side by side
    assert both.values(processes=2) == {"images_per_second": 50, "data_wait": 0.25}
    assert both.told(2) == "; 50 images/s, 25 % of the time waiting for data"
    assert Lap().values(2) == {} and Lap().told(2) == ""


def test_much_waiting_is_worth_a_warning() -> None:
    assert "more than 20 %" in Lap(1, 10.0, 2.1).warning()
    assert Lap(1, 10.0, 2.0).warning() == ""
    assert Lap().warning() == ""


def test_a_warning_is_said_when_it_is_new() -> None:
    said: list[str] = []
    warner = Warner(said.append)
    for text in ("a", "a", "b", "", "b"):
        warner.check("kind", text)
    warner.check("other", "b")
    assert said == [f"warning: {text}" for text in "abbb"]
