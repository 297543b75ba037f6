"""What a network draws while it trains (dropout), as a function of (seed, step, rank)."""

from __future__ import annotations

import numpy as np
import torch


def seed_draws(seed: int, step: int, rank: int) -> None:
    """Seeds torch's generators for one step: a resumed run draws what an unbroken one drew."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0]))
