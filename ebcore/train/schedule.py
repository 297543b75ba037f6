"""Learning rate over a training step (EBConv section 5)."""

from __future__ import annotations

import math

from ebcore.params import TrainParams


def learning_rate(train: TrainParams, progress: float) -> float:
    """The rate at `progress` epochs (fractions count).

    Linear warm-up from 0, then steps of `gamma` at the milestones, or a cosine to 0.
    """
    if progress < train.warmup_epochs:
        return train.lr * progress / train.warmup_epochs
    if train.schedule == "cosine":
        span = max(1, train.epochs - train.warmup_epochs)
        return train.lr * 0.5 * (1 + math.cos(math.pi * (progress - train.warmup_epochs) / span))
    passed = sum(progress >= milestone for milestone in train.milestones)
    return train.lr * train.gamma**passed
