"""From a short run's log to the real run's time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ebcore.data.estimate import DataSize
from ebcore.data.progress import Phase


@dataclass(frozen=True)
class Rates:
    """Images a second of a training stage, over all its workers."""

    train: float
    val: float


@dataclass(frozen=True)
class Estimate:
    """A stage of the real run. `at_most`: starting up is part of what was measured."""

    stage: str
    images: int  # that pass through it; 0 where its time does not depend on images
    per_second: float | None
    seconds: float
    at_most: bool = False


def rates(log: Sequence[dict[str, Any]], batch_size: int, val: int) -> Rates:
    """From a run's records: the last epoch's steps, then its validation of `val` images.

    The first epoch, which warms up, ends with a checkpoint; the last begins there.
    """
    ends = [record for record in log if record["event"] == "epoch"]
    begin = [r["time"] for r in log if r["event"] == "checkpoint" and r["step"] == ends[-2]["step"]]
    steps = [record for record in log if record["event"] == "step"]
    assert steps[-1]["step"] == ends[-1]["step"], "a whole number of log entries an epoch"
    images = batch_size * (ends[-1]["step"] - ends[-2]["step"])
    return Rates(
        images / (steps[-1]["time"] - begin[0]), val / (ends[-1]["time"] - steps[-1]["time"])
    )


def training(stage: str, epochs: int, size: DataSize, found: Rates, scale: float) -> Estimate:
    """`scale`: how many times the measured workers the real run has."""
    seconds = epochs * (size.train / found.train + size.val / found.val) / scale
    return Estimate(stage, epochs * size.train, found.train * scale, seconds)


def preparing(phases: Sequence[Phase], size: DataSize, cores: int) -> Estimate:
    """The check has all cores in the real run and one here; writing has all in both."""
    check = [phase for phase in phases if phase.name == "check"]
    write = [phase for phase in phases if phase.name != "check"]
    seconds = size.images * _seconds_per_image(check) / cores
    seconds += size.images * _seconds_per_image(write)
    return Estimate("prepare", size.images, size.images / seconds, seconds)


def _seconds_per_image(phases: Sequence[Phase]) -> float:
    images = sum(phase.images for phase in phases)
    return sum(phase.seconds for phase in phases) / images if images else 0.0


def evaluating(stage: str, seconds: float, start: float, val: int, size: DataSize) -> Estimate:
    """`start`: seconds that importing takes; opening the files is still in the rest."""
    per_image = max(seconds - start, 0.1 * seconds) / val
    return Estimate(stage, size.val, 1 / per_image, start + size.val * per_image, at_most=True)
