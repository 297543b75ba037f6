"""Top-k accuracy."""

from __future__ import annotations

import torch
from torch import Tensor


def hits(logits: Tensor, labels: Tensor, k: int) -> Tensor:
    """Whether the label is among the k best classes: bool [B].

    Equal logits are ordered by class index, so a constant output does not count as right
    for every class.

    Args:
        logits: float [B, K].
        labels: int64 [B].
        k: at least 1; more than K classes are all of them.
    """
    order = torch.argsort(logits, dim=1, descending=True, stable=True)
    return (order[:, :k] == labels[:, None]).any(dim=1)


def percent(right: Tensor) -> float:
    """Share of true entries in percent; bool [B] with B >= 1."""
    return 100.0 * int(right.sum()) / right.numel()
