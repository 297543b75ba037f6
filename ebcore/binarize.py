"""Sign with its straight-through estimator, and what makes weights binary (EBConv section 3).

Everywhere sign(v) = +1 for v >= 0.
"""

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


class _XnorKernel(torch.autograd.Function):
    @staticmethod
    def forward(weight: Tensor) -> Tensor:
        return hard_sign(weight) * mean_size(weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (weight,) = ctx.saved_tensors
        in_channels, taps = weight.shape[1], weight[0].numel()
        inside = mean_size(weight) * (weight.abs() < 1) + 1 / taps
        return grad * inside * (taps * (1 - 1 / in_channels))


def xnor_kernel(weight: Tensor) -> Tensor:
    """XNOR-Net's alpha * sign(w), alpha = `mean_size(w)`, with the gradient of its released code.

    With n = I K K weights a filter and I input channels, dw = n (1 - 1 / I) (alpha 1[|w| < 1] +
    1 / n) dkernel, weight by weight: alpha's own gradient, which sums over the filter, is replaced
    by the term 1 / n. Hybrid Binary Networks trains with it.

    Args:
        weight: real [O, I, K, K].
    """
    return _XnorKernel.apply(weight)


def mean_size(weight: Tensor) -> Tensor:
    """Mean of |w| over each filter: [O, I, K, K] -> [O, 1, 1, 1]."""
    return weight.abs().mean((1, 2, 3), keepdim=True)


def centred(weight: Tensor) -> Tensor:
    """Each filter less its mean over input channels, then cut to [-1, 1]; [O, I, K, K].

    What XNOR-Net's released code does to real weights before every step and every evaluation.
    """
    return (weight - weight.mean(1, keepdim=True)).clamp(-1, 1)
