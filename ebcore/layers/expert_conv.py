"""Convolution with one kernel of N per sample, and its exact gradients (EBConv Eq. 2 to 4).

Reference form: W_s = sum_k phi_sk theta_k, made binary where the layer is, then one convolution
per sample. With phi one-hot this equals convolving each sample with its own expert. Backward, with
dW_s the gradient of sample s's effective kernel and mask = 1[|theta_sel| < 1] the estimator of the
selected kernel (all ones while weights are real):
    d theta_k = sum over samples s of expert k of mask * dW_s
    d phi_sj  = <dW_s, mask * theta_j>        with the latent (real) theta_j
so the per-sample dW_s is formed once and never kept: in PyTorch's operators a chunk of samples at a
time (`expert_reference.py`: GPUs, other precisions, other CPUs), in float32 on x86 CPUs a tile at a
time, used up in registers (`kernels/weight_gradient.inl`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebcore.layers import expert_reference, native


@torch.library.custom_op("ebcore::expert_conv2d", mutates_args=())
def expert_conv2d(
    x: Tensor,
    theta: Tensor,
    phi: Tensor,
    binary_weight: bool,
    stride: int,
    padding: int,
    groups: int,
) -> Tensor:
    """Convolves each sample with the expert its gate chose.

    Args:
        x: [B, I, H, W]; half precision gives a result of it.
        theta: [N, O, I / groups, K, K], latent weights in full precision: sign and mask are theirs.
        phi: [B, N], one-hot.
        binary_weight: whether the kernel used is sign(theta_k).

    Returns:
        [B, O, H', W'], contiguous.
    """
    settings = binary_weight, stride, padding, groups
    isa = native.instruction_set(x, theta, phi, stride)
    if isa is None:
        return expert_reference.forward(x, theta, phi, *settings)
    return native.forward(isa, x, theta, phi.argmax(1), *settings)


@expert_conv2d.register_fake
def _(
    x: Tensor,
    theta: Tensor,
    phi: Tensor,
    binary_weight: bool,
    stride: int,
    padding: int,
    groups: int,
) -> Tensor:
    height, width = (_out_size(size, theta.shape[-1], stride, padding) for size in x.shape[2:])
    return x.new_empty(x.shape[0], theta.shape[1], height, width)


@torch.library.custom_op("ebcore::expert_conv2d_backward", mutates_args=())
def expert_conv2d_backward(
    grad: Tensor,
    x: Tensor,
    theta: Tensor,
    phi: Tensor,
    binary_weight: bool,
    stride: int,
    padding: int,
    groups: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `expert_conv2d` for x, theta and phi; `grad` is [B, O, H', W']."""
    settings = binary_weight, stride, padding, groups
    isa = native.instruction_set(x, theta, phi, stride)
    if isa is None or grad.dtype != x.dtype:
        return expert_reference.backward(grad, x, theta, phi, *settings)
    return native.backward(isa, grad, x, theta, phi.argmax(1), *settings)


@expert_conv2d_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    theta: Tensor,
    phi: Tensor,
    binary_weight: bool,
    stride: int,
    padding: int,
    groups: int,
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), theta.new_empty(theta.shape), phi.new_empty(phi.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.settings = inputs[3:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grads = expert_conv2d_backward(grad.contiguous(), *ctx.saved_tensors, *ctx.settings)
    return *grads, None, None, None, None


expert_conv2d.register_autograd(_backward, setup_context=_setup_context)


def _out_size(size: Any, kernel: int, stride: int, padding: int) -> Any:
    return (size + 2 * padding - kernel) // stride + 1
