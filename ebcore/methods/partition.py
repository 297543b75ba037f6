"""Which layers keep real inputs: metric and Algorithm 1 of Hybrid Binary Networks (its poster).

    M = E + gamma / NF        E: binarization error of a layer's input, NF: its operations

and k-means on the layers' metrics with N = 2, 3, ... clusters, until the cluster of the highest
mean holds at most the share R of all layers. gamma, R, the unit of NF and its normalisation are
not known from print: all four are parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ebcore.errors import InputError

Normalisation = Literal["none", "max", "mean", "sum"]
_STARTS = 256  # of k-means; with 64 one of the plotted cases ended above its optimum


@dataclass(frozen=True)
class PartitionOptions:
    """How layers are chosen.

    Attributes:
        gamma: what 1 / NF counts against E.
        unit: operations that NF counts as 1, for "none"; 1e6 is MFLOP.
        normalise: what NF is divided by instead of `unit`: the layers' largest, their mean, their
            sum.
        share: R, largest share of the network's layers that may keep real inputs.
        union: 1 is the algorithm as printed; m > 1 takes the m clusters of the highest means.
        layers: an explicit choice, which leaves metric and clusters for information.
    """

    gamma: float = 1.0
    unit: float = 1e6
    normalise: Normalisation = "none"
    share: float = 0.3
    union: int = 1
    layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        allowed = ("none", "max", "mean", "sum")
        for holds, key, value, remedy in (
            (self.gamma >= 0, "gamma", self.gamma, "Use 0 or more."),
            (self.unit > 0, "unit", self.unit, "Use more than 0."),
            (0 < self.share <= 1, "share", self.share, "Use more than 0 and at most 1."),
            (self.union >= 1, "union", self.union, "Use 1 or more."),
            (self.normalise in allowed, "normalise", self.normalise, f"Use one of {allowed}."),
        ):
            if not holds:
                raise InputError(f"partition.{key}", f"is {value!r}", remedy)


@dataclass(frozen=True)
class Partition:
    """What was chosen.

    Attributes:
        metric: M of each layer, by its number.
        cluster: of each layer, 0 for the lowest metrics; empty for an explicit choice.
        chosen: the layers that keep real inputs, ascending.
    """

    metric: dict[int, float]
    cluster: dict[int, int]
    chosen: tuple[int, ...]

    @property
    def clusters(self) -> int:
        """N; 0 for an explicit choice."""
        return max(self.cluster.values(), default=-1) + 1


def layer_metrics(
    errors: Mapping[int, float], operations: Mapping[int, float], options: PartitionOptions
) -> dict[int, float]:
    """M = E + gamma / NF by layer number.

    Args:
        errors: E.
        operations: multiply-accumulates of the same layers.
    """
    counts = list(operations.values())
    scale = {
        "none": options.unit,
        "max": max(counts),
        "mean": sum(counts) / len(counts),
        "sum": sum(counts),
    }[options.normalise]
    return {n: error + options.gamma * scale / operations[n] for n, error in errors.items()}


def choose_layers(
    metric: Mapping[int, float], options: PartitionOptions, layers: int | None = None
) -> Partition:
    """Algorithm 1 on the metrics of the layers 2 to P.

    Args:
        metric: M by layer number.
        layers: P, what `share` is a share of; None counts those of `metric` and the first.

    Raises:
        InputError: no number of clusters keeps within `share`; or an explicit choice names a layer
            without a metric.
    """
    total = layers or len(metric) + 1
    known = dict(metric)
    if options.layers:
        unknown = sorted(set(options.layers) - set(known))
        if unknown:
            raise InputError(
                f"partition.layers {list(options.layers)}",
                f"names layers that are not there: {unknown}",
                f"Choose from {min(known)} to {max(known)}.",
            )
        return Partition(known, {}, tuple(sorted(options.layers)))
    distinct = len(set(known.values()))
    for count in range(options.union + 1, distinct + 1):
        cluster = dict(zip(known, cluster_values(list(known.values()), count), strict=True))
        chosen = tuple(sorted(n for n in known if cluster[n] >= count - options.union))
        if len(chosen) / total <= options.share:
            return Partition(known, cluster, chosen)
    raise InputError(
        f"partition.share {options.share}",
        f"is less than the {options.union} highest of up to {distinct} clusters hold of {total} "
        "layers",
        "Raise it, lower partition.union, or name partition.layers.",
    )


def cluster_values(values: Sequence[float], count: int) -> list[int]:
    """k-means of numbers: the cluster of each, 0 for the lowest mean; the same in every call."""
    from sklearn.cluster import KMeans  # 1.5 s to import

    points = np.asarray(values, np.float64)[:, None]
    means = KMeans(count, n_init=_STARTS, random_state=0, tol=0.0).fit(points)
    rank = np.argsort(np.argsort(means.cluster_centers_[:, 0]))
    return [int(rank[label]) for label in means.labels_]
