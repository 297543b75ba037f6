"""Times of several candidates measured in one interleaved run, so that drift hits all alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles

WARM_UP_CALLS = 3


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


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    min_seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Times each candidate `repeats` times, one sample of each per round.

    A sample is as many calls as last `min_seconds`, so that the clock's grain does not count.
    Every round starts with another candidate: none always runs behind the same neighbour.

    Args:
        candidates: what to call, by name.
        repeats: samples of each, at least 2.
        min_seconds: least length of a sample in seconds; 0 makes every sample one call.
    """
    assert repeats >= 2, repeats
    names = list(candidates)
    calls = {name: _calls_for(candidates[name], min_seconds, clock) for name in names}
    samples: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(repeats):
        first = round_ % len(names) if names else 0
        for name in names[first:] + names[:first]:
            samples[name].append(_sample(candidates[name], calls[name], clock))
    return {name: Timing.of(seconds) for name, seconds in samples.items()}


def _calls_for(
    function: Callable[[], object], min_seconds: float, clock: Callable[[], float]
) -> int:
    """Warms up, then finds the number of calls that fills `min_seconds`."""
    for _ in range(WARM_UP_CALLS):
        function()
    calls = 1
    while min_seconds > 0 and _sample(function, calls, clock) * calls < min_seconds:
        calls *= 2
    return calls


def _sample(function: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(calls):
        function()
    return (clock() - start) / calls


@contextmanager
def pinned(threads: int) -> Iterator[str]:
    """Keeps the process on `threads` cores and torch at as many threads; restores both after.

    Yields the cores as text ("1", "0 1"), "" where the system cannot pin.
    """
    import torch

    before_threads = torch.get_num_threads()
    before_cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    # The last ones: interrupts and other programs favour the first.
    cores = sorted(before_cores)[-threads:]
    try:
        torch.set_num_threads(threads)
        if cores:
            os.sched_setaffinity(0, cores)
        yield " ".join(str(core) for core in cores)
    finally:
        torch.set_num_threads(before_threads)
        if cores:
            os.sched_setaffinity(0, before_cores)
