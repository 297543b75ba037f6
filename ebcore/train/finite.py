"""Stops training before a non-finite number reaches the weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ebcore.errors import InputError


def check_finite(model: nn.Module, loss: Tensor, step: int, epoch: int, indices: Tensor) -> None:
    """Checks loss and gradients of one step.

    Raises:
        InputError: something is NaN or infinite; names the step, the layer and the batch.
    """
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    total = torch.nn.utils.get_total_norm([loss.detach().float(), *grads])
    if math.isfinite(total.item()):
        return
    layer = "the loss"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            layer = f"the gradient of {name}"
            break
    first = ", ".join(str(i) for i in indices[:8].tolist())
    raise InputError(
        f"step {step} (epoch {epoch})",
        f"{layer} is not finite; batch of {len(indices)} samples: {first}, ...",
        "Lower lr or lengthen warmup_epochs; the last checkpoint is kept.",
    )
