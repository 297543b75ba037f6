"""Expert convolution in PyTorch's own operators: the reference, for any device and precision."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ebcore.binarize import hard_sign

_CHUNK_BYTES = 64 << 20  # of unfolded patches held at once


def forward(
    x: Tensor,
    theta: Tensor,
    phi: Tensor,
    binary_weight: bool,
    stride: int,
    padding: int,
    groups: int,
) -> Tensor:
    """As `expert_conv2d`."""
    order, slices = _by_expert(phi)
    kernels = (hard_sign(theta) if binary_weight else theta).to(x.dtype)
    grouped = x[order]
    parts = [
        F.conv2d(grouped[rows], kernels[k], stride=stride, padding=padding, groups=groups)
        for k, rows in slices
    ]
    return torch.cat(parts)[order.argsort()].contiguous()


def backward(
    grad: Tensor,
    x: Tensor,
    theta: Tensor,
    phi: Tensor,
    binary_weight: bool,
    stride: int,
    padding: int,
    groups: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `expert_conv2d_backward`: samples sorted by expert, dW_s formed a chunk at a time."""
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
    grad_phi, grad_theta = phi.new_empty(phi.shape), theta.new_zeros(theta.shape)
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
    return torch.cat(parts)[back].contiguous(), grad_theta, grad_phi[back]


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
