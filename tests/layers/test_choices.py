from __future__ import annotations

import pytest
import torch

from ebcore.layers.choices import usage_entropy


@pytest.mark.parametrize(
    ("counts", "bits"),
    [([8, 0, 0, 0], 0.0), ([2, 2, 2, 2], 2.0), ([4, 4], 1.0), ([1, 1, 2], 1.5)],
)
def test_entropy_by_hand(counts: list[int], bits: float) -> None:
    assert usage_entropy(torch.tensor(counts)) == bits
