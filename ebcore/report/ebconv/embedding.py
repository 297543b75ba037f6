"""Features on a plane (EBConv Fig. 1b)."""

from __future__ import annotations

from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from torch import Tensor

_PERPLEXITY = 30.0
_MIN_SAMPLES = 5


def sample(count: int, wanted: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """At most `wanted` of `count` indices, evenly spread: validation sets are sorted by class."""
    if count <= wanted:
        return np.arange(count)
    return np.linspace(0, count - 1, wanted).round().astype(np.int64)


def tsne(features: Tensor, seed: int) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Features float [n, C] -> points [n, 2]; None for too few images to embed.

    One thread and a fixed seed: the same points at every run.
    """
    from sklearn.manifold import TSNE

    values = features.double().numpy()
    if len(values) < _MIN_SAMPLES:
        return None
    perplexity = min(_PERPLEXITY, (len(values) - 1) / 3)
    model = TSNE(
        perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed, n_jobs=1
    )
    with threadpool_limits(1):
        points: np.ndarray[Any, np.dtype[np.float64]] = model.fit_transform(values)
    return points
