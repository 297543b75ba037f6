"""Times of several candidates measured in one interleaved run, so that drift hits all alike."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TypeVar

WARM_UP_CALLS = 3

_Name = TypeVar("_Name")


@dataclass(frozen=True)
class Timing:
    """Seconds per call: the median over the samples, and the quartiles as its spread."""

    median: float
    low: float
    high: float
    samples: int

    @staticmethod
    def of(seconds: list[float]) -> Timing:
        """The statistics of at least two samples."""
        low, _, high = quantiles(seconds, n=4, method="inclusive")
        return Timing(median(seconds), low, high, len(seconds))


Call = Callable[[], object]


@dataclass(frozen=True)
class SelfTimed:
    """What times itself: `seconds(n)` runs n times and gives the mean seconds per run."""

    seconds: Callable[[int], float]


class Sampler:
    """Called, it gives seconds per call: the mean over as many calls as last `min_seconds`.

    So the clock's grain does not count. Warms up first, then finds the number of calls; 0 seconds
    make every sample one call.
    """

    def __init__(
        self,
        function: Call | SelfTimed,
        min_seconds: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._function, self._clock, self._calls = function, clock, 1
        self.seconds_of(WARM_UP_CALLS)
        if min_seconds > 0:
            while (seconds := self()) * self._calls < min_seconds:
                self._calls *= 2
            self._calls = math.ceil(min_seconds / seconds)  # the last doubling may go too far

    def __call__(self) -> float:
        return self.seconds_of(self._calls)

    def seconds_of(self, calls: int) -> float:
        """The mean over so many calls."""
        if isinstance(self._function, SelfTimed):
            return self._function.seconds(calls)
        start = self._clock()
        for _ in range(calls):
            self._function()
        return (self._clock() - start) / calls


def in_turn(samplers: Mapping[_Name, Callable[[], float]], repeats: int) -> dict[_Name, Timing]:
    """Asks each for `repeats` samples (at least 2), one of each per round.

    Every round starts with another: none always runs behind the same neighbour.
    """
    assert repeats >= 2, repeats
    names = list(samplers)
    samples: dict[_Name, list[float]] = {name: [] for name in names}
    for round_ in range(repeats):
        first = round_ % len(names) if names else 0
        for name in names[first:] + names[:first]:
            samples[name].append(samplers[name]())
    return {name: Timing.of(seconds) for name, seconds in samples.items()}


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    min_seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Times candidates of this process in turn, each with `repeats` samples of a `Sampler`."""
    samplers = {name: Sampler(call, min_seconds, clock) for name, call in candidates.items()}
    return in_turn(samplers, repeats)


def last_cores(threads: int) -> list[int]:
    """The cores to measure on, [] where the system cannot pin.

    The last ones: interrupts and other programs favour the first.
    """
    if not hasattr(os, "sched_getaffinity"):
        return []
    return sorted(os.sched_getaffinity(0))[-threads:]


@contextmanager
def pinned(threads: int) -> Iterator[str]:
    """Keeps the process on `threads` cores and torch at as many threads; restores both after.

    Yields the cores as text ("1", "0 1"), "" where the system cannot pin.
    """
    import torch

    before_threads = torch.get_num_threads()
    cores = last_cores(threads)
    before_cores = os.sched_getaffinity(0) if cores else set()
    try:
        torch.set_num_threads(threads)
        if cores:
            os.sched_setaffinity(0, cores)
        yield " ".join(str(core) for core in cores)
    finally:
        torch.set_num_threads(before_threads)
        if cores:
            os.sched_setaffinity(0, before_cores)
