"""Convolution with one kernel of N per sample, and its exact gradients (EBConv Eq. 2 to 4).

Reference form: W_s = sum_k phi_sk theta_k, made binary where the layer is, then one convolution
per sample. With phi one-hot this equals convolving each sample with its own expert. Backward, with
dW_s the gradient of sample s's effective kernel and mask = 1[|theta_sel| < 1] the estimator of the
selected kernel (all ones while weights are real):
    d theta_k = sum over samples s of expert k of mask * dW_s
    d phi_sj  = <dW_s, mask * theta_j>        with the latent (real) theta_j
so the per-sample dW_s is formed once, in chunks of bounded memory, and never kept.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ebcore.binarize import hard_sign

_CHUNK_BYTES = 64 << 20  # of unfolded patches held at once


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
        [B, O, H', W'].
    """
    order, slices = _by_expert(phi)
    kernels = (hard_sign(theta) if binary_weight else theta).to(x.dtype)
    grouped = x[order]
    parts = [
        F.conv2d(grouped[rows], kernels[k], stride=stride, padding=padding, groups=groups)
        for k, rows in slices
    ]
    return torch.cat(parts)[order.argsort()]


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
    order, slices = _by_expert(phi)
    kernels = (hard_sign(theta) if binary_weight else theta).to(x.dtype)
    x, grad = x[order], grad[order]
    parts = [
        torch.ops.aten.convolution_backward(
            grad[rows],
            x[rows],
            kernels[k],
            None,
            [stride, stride],
            [padding, padding],
            [1, 1],
            False,
            [0, 0],
            groups,
            [True, False, False],
        )[0]
        for k, rows in slices
    ]
    grad_phi, grad_theta = torch.empty_like(phi), torch.zeros_like(theta)
    latent = theta.flatten(1).to(x.dtype)  # [N, O * I/g * K * K]
    patch_bytes = x[0].numel() * theta.shape[-1] ** 2 * x.element_size()
    chunk = max(1, _CHUNK_BYTES // max(1, patch_bytes))
    for first in range(0, len(x), chunk):
        last = min(first + chunk, len(x))
        per_sample = _sample_weight_gradients(
            grad[first:last], x[first:last], theta, stride, padding
        )
        for k, rows in slices:
            begin, end = max(rows.start, first), min(rows.stop, last)
            if begin < end:
                own = per_sample[begin - first : end - first]
                if binary_weight:
                    own *= theta[k].flatten().abs() < 1
                grad_phi[begin:end] = own @ latent.t()
                grad_theta[k] += own.sum(0, dtype=theta.dtype).view_as(theta[k])
    back = order.argsort()
    return torch.cat(parts)[back], grad_theta, grad_phi[back]


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
    return torch.empty_like(x), torch.empty_like(theta), torch.empty_like(phi)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.settings = inputs[3:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grads = expert_conv2d_backward(grad.contiguous(), *ctx.saved_tensors, *ctx.settings)
    return *grads, None, None, None, None


expert_conv2d.register_autograd(_backward, setup_context=_setup_context)


def _sample_weight_gradients(
    grad: Tensor, x: Tensor, theta: Tensor, stride: int, padding: int
) -> Tensor:
    """dW of every sample, [b, O * I/g * K * K]."""
    samples, (_, out, in_group, kernel, _) = len(x), theta.shape
    groups = x.shape[1] // in_group
    if kernel == 1 and padding == 0:
        patches = x[:, :, ::stride, ::stride].flatten(2)
    else:
        patches = F.unfold(x, kernel, padding=padding, stride=stride)  # [b, I*K*K, L]
    patches = patches.reshape(samples * groups, in_group * kernel * kernel, -1)
    grads = grad.reshape(samples * groups, out // groups, -1)
    return torch.bmm(grads, patches.transpose(1, 2)).view(samples, -1)


def _by_expert(phi: Tensor) -> tuple[Tensor, list[tuple[int, slice]]]:
    """The samples' order by expert, and (expert, its rows in that order) for those in use."""
    chosen = phi.argmax(1)
    counts = torch.bincount(chosen, minlength=phi.shape[1]).tolist()
    slices, start = [], 0
    for expert, count in enumerate(counts):
        if count:
            slices.append((expert, slice(start, start + count)))
        start += count
    return chosen.argsort(stable=True), slices


def _out_size(size: Any, kernel: int, stride: int, padding: int) -> Any:
    return (size + 2 * padding - kernel) // stride + 1
