"""Mean and standard deviation of each variant, and which differences mean something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ebcore.ablation.runs import Run
from ebcore.report.spread import spread as mean_and_deviation


@dataclass(frozen=True)
class Spread:
    """Mean of some values, and their standard deviation (n - 1); None for one value."""

    mean: float
    std: float | None

    def overlaps(self, other: Spread) -> bool | None:
        """Whether mean +- std and the other's meet; None where one has no standard deviation."""
        if self.std is None or other.std is None:
            return None
        return abs(self.mean - other.mean) <= self.std + other.std

    def __str__(self) -> str:
        return f"{self.mean:.2f}" if self.std is None else f"{self.mean:.2f} +- {self.std:.2f}"


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    found = mean_and_deviation(values)
    return Spread(found["mean"], found["std"])


@dataclass(frozen=True)
class Summary:
    """One variant over its seeds.

    Attributes:
        runs: one per seed.
        top1, top1_real_weights: in percent.
        difference: of mean top1 to the first variant's, in points; None for the first.
        within_spread: whether that lies within the spread (see `Spread.overlaps`).
    """

    runs: Sequence[Run]
    top1: Spread
    top1_real_weights: Spread
    difference: float | None
    within_spread: bool | None

    @property
    def first(self) -> Run:
        """Has what its seeds share: names and costs."""
        return self.runs[0]

    @property
    def verdict(self) -> str:
        """The difference in words."""
        if self.difference is None:
            return "what the others are compared with"
        if self.within_spread is None:
            return "one seed"
        return "within the spread" if self.within_spread else "beyond the spread"


def summaries(runs: Sequence[Run]) -> list[Summary]:
    """One per variant, in order; the first variant is what the others are compared with."""
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.variant, []).append(run)
    base = spread([run.top1 for run in grouped[runs[0].variant]])
    found = []
    for name, mine in grouped.items():
        top1 = spread([run.top1 for run in mine])
        is_base = name == runs[0].variant
        found.append(
            Summary(
                runs=mine,
                top1=top1,
                top1_real_weights=spread([run.top1_real_weights for run in mine]),
                difference=None if is_base else top1.mean - base.mean,
                within_spread=None if is_base else top1.overlaps(base),
            )
        )
    return found


def best(found: Sequence[Summary]) -> tuple[Summary, list[Summary]]:
    """The highest mean, the first among equals; and the others that lie within its spread."""
    top = max(found, key=lambda summary: summary.top1.mean)
    near = [other for other in found if other is not top and other.top1.overlaps(top.top1)]
    return top, near
