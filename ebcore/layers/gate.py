"""The winner-takes-all gate that picks one expert per sample (EBConv section 4.1, Eq. 3 to 5)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Gate(nn.Module):
    """One-hot of the largest logit forward, Jacobian of the activation backward.

    Args:
        in_channels: C, the length of the pooled vector.
        experts: N.
        activation: "softmax" (the paper's) or "sigmoid" (its ablation, A.2.3).
        temperature: tau dividing the logits before the activation (Table 9; the paper uses 1).
    """

    def __init__(
        self, in_channels: int, experts: int, activation: str = "softmax", temperature: float = 1.0
    ) -> None:
        super().__init__()
        if activation not in ("softmax", "sigmoid"):
            raise ValueError(f"gate {activation!r}: use 'softmax' or 'sigmoid'")
        # Eq. 5 has no bias, the authors' code and checkpoint do: a bias of 0 covers both.
        self.linear = nn.Linear(in_channels, experts)
        self.activation = activation
        self.temperature = temperature

    def forward(self, pooled: Tensor) -> Tensor:
        """`pooled` [B, C] real -> one-hot [B, N] of its dtype; ties go to the lowest index."""
        logits = self.linear(pooled)
        scaled = logits / self.temperature
        soft = scaled.softmax(1) if self.activation == "softmax" else scaled.sigmoid()
        hard = F.one_hot(logits.argmax(1), logits.shape[1]).to(soft.dtype)
        # soft - soft is exactly 0, so the value is one-hot and the gradient is soft's.
        return hard + (soft - soft.detach())

    def extra_repr(self) -> str:
        return f"activation={self.activation}, temperature={self.temperature}"
