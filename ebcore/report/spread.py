"""Results over seeds: mean and spread, and whether one of two networks is the better."""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose
from statistics import fmean, stdev
from typing import Any

_ROUNDING = 1e-9  # percent: what summing shares of images may differ by


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Values, one per seed -> values, mean, std (n - 1; None of one value), number of seeds."""
    std = stdev(values) if len(values) > 1 else None
    return {"values": list(values), "mean": fmean(values), "std": std, "seeds": len(values)}


def compare(ours: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """Is `ours` at least `other` in the mean? Both hold a value per seed, in the same order.

    Returns:
        ours, other, difference: `spread` of each; the difference is ours - other, seed by seed.
        outcome: "better", "equal" or "worse", by the means.
        holds: whether it is not worse.
        settled: whether the difference is larger than its standard deviation; None of one seed.
        better, equal, worse: number of seeds.
    """
    outcomes = [_outcome(a - b) for a, b in zip(ours, other, strict=True)]
    difference = spread([a - b for a, b in zip(ours, other, strict=True)])
    outcome, std = _outcome(difference["mean"]), difference["std"]
    return {
        "ours": spread(ours),
        "other": spread(other),
        "difference": difference,
        "outcome": outcome,
        "holds": outcome != "worse",
        "settled": None if std is None else abs(difference["mean"]) > std,
        **{name: outcomes.count(name) for name in ("better", "equal", "worse")},
    }


def _outcome(difference: float) -> str:
    if isclose(difference, 0.0, abs_tol=_ROUNDING):
        return "equal"
    return "better" if difference > 0 else "worse"
