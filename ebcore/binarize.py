"""Sign with its straight-through estimator (EBConv section 3; DESIGN: sign(v) = +1 for v >= 0)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(values: Tensor) -> Tensor:
        return hard_sign(values)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0].abs() < 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (inside,) = ctx.saved_tensors
        return grad * inside


def hard_sign(values: Tensor) -> Tensor:
    """+1 where a value is >= 0 (0 and -0.0 included), else -1. No gradient.

    NaN stays NaN, so that it reaches the loss and is noticed. Shape and dtype stay as they are.
    """
    signs = (values >= 0).to(values.dtype).mul_(2).sub_(1)
    return torch.where(values.isnan(), values, signs)


def sign(values: Tensor) -> Tensor:
    """`hard_sign` whose gradient passes where |v| < 1 and is 0 elsewhere.

    The estimator of the paper's code, for activations and for weights. Any shape, any float dtype.
    """
    return _Sign.apply(values)
