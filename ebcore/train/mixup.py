"""Mixup (EBConv A.2.2), its randomness a function of (seed, step, rank)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def mixup(
    images: Tensor, labels: Tensor, classes: int, *, alpha: float, seed: int, step: int, rank: int
) -> tuple[Tensor, Tensor]:
    """Blends each image with another of its batch.

    Args:
        images: [B, C, H, W].
        labels: int64 [B].
        alpha: of Beta(alpha, alpha); 0 leaves the images as they are.

    Returns:
        The images, and the class probabilities [B, classes].
    """
    targets = F.one_hot(labels, classes).to(images.dtype)
    if alpha == 0:
        return images, targets
    random = np.random.default_rng([seed, step, rank])
    share = float(random.beta(alpha, alpha))
    partner = torch.from_numpy(random.permutation(len(images))).to(images.device)
    return (
        share * images + (1 - share) * images[partner],
        share * targets + (1 - share) * targets[partner],
    )
