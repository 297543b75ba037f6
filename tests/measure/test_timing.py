"""The statistics and the order of calls, with a clock that the test moves."""

from __future__ import annotations

import os

import pytest
import torch

from ebcore.measure.timing import WARM_UP_CALLS, Timing, interleaved, pinned


class Clock:
    """Each call of a candidate moves it on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def candidate(self, name: str, *seconds: float):  # type: ignore[no-untyped-def]
        """Takes the given seconds in turn, then the last for ever; warm-up takes the first."""
        times = [seconds[0]] * WARM_UP_CALLS + list(seconds)

        def call() -> None:
            self.now += times.pop(0) if len(times) > 1 else times[0]
            self.log.append(name)

        return call

    def __call__(self) -> float:
        return self.now


def test_median_and_quartiles_by_hand() -> None:
    # inclusive quartiles of 1..5 are the 2nd and the 4th value
    assert Timing.of([5.0, 1.0, 3.0, 2.0, 4.0]) == Timing(3.0, 2.0, 4.0, 5)


def test_one_slow_sample_does_not_move_the_median() -> None:
    clock = Clock()
    calls = {"a": clock.candidate("a", 1.0, 1.0, 90.0, 1.0, 1.0)}
    times = interleaved(calls, repeats=5, min_seconds=0, clock=clock)
    assert times["a"] == Timing(1.0, 1.0, 1.0, 5)


def test_candidates_take_turns_and_each_round_starts_with_another() -> None:
    clock = Clock()
    calls = {name: clock.candidate(name, 1.0) for name in "abc"}
    interleaved(calls, repeats=4, min_seconds=0, clock=clock)
    assert "".join(clock.log[3 * WARM_UP_CALLS :]) == "abc" + "bca" + "cab" + "abc"


def test_short_calls_are_repeated_until_a_sample_is_long_enough() -> None:
    clock = Clock()
    calls = {"a": clock.candidate("a", 0.25)}
    times = interleaved(calls, repeats=2, min_seconds=1.0, clock=clock)
    assert times["a"].median == 0.25
    # calibration tries 1, 2 and 4 calls; then two samples of 4
    assert len(clock.log) == WARM_UP_CALLS + (1 + 2 + 4) + 2 * 4


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no pinning on this system")
def test_pinned_restores_cores_and_threads() -> None:
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    with pinned(1) as names:
        assert os.sched_getaffinity(0) == {int(names)} <= cores
        assert torch.get_num_threads() == 1
    assert os.sched_getaffinity(0) == cores
    assert torch.get_num_threads() == threads
