"""Stops training before a non-finite number reaches the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ebcore.errors import InputError
from ebcore.train.distributed import Group


class PeerFailed(Exception):
    """Another process found the reason and reports it."""


def check_finite(
    model: nn.Module,
    loss: Tensor,
    group: Group,
    *,
    step: int,
    epoch: int,
    images: Tensor,
    indices: Tensor,
    gradients: bool = True,
) -> None:
    """Checks loss and (averaged) gradients of one step.

    Args:
        gradients: False where a loss scaler may be the reason, and looks after them.

    Raises:
        InputError: something here is NaN or infinite; names the step, the layer and the batch.
        PeerFailed: another process's loss is the reason.
    """
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    good_grads = not gradients or bool(torch.nn.utils.get_total_norm(grads).isfinite())
    good_loss = bool(loss.isfinite())
    if good_grads and good_loss:
        return
    # Averaged gradients are bad on every process at once, so all meet here.
    bad_losses = good_grads or group.any([not good_loss])[0]
    if good_loss and bad_losses:
        raise PeerFailed
    what = _first_bad_output(model, images) if not good_loss else _first_bad_gradient(model)
    first = ", ".join(str(i) for i in indices[:8].tolist())
    raise InputError(
        f"step {step} (epoch {epoch})",
        f"{what} is not finite; batch of {len(indices)} samples: {first}, ...",
        "Lower lr or lengthen warmup_epochs; the last checkpoint is kept.",
    )


def _first_bad_gradient(model: nn.Module) -> str:
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return f"the gradient of {name}"
    return "the norm of all gradients"


def _first_bad_output(model: nn.Module, images: Tensor) -> str:
    """The first leaf module, in running order, whose output is bad for these images."""
    if not images.isfinite().all():
        return "the input"
    found: list[str] = []

    def look(name: str) -> object:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            if not output.isfinite().all():
                found.append(name)

        return hook

    hooks = [
        module.register_forward_hook(look(name))
        for name, module in model.named_modules()
        if not list(module.children())
    ]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return f"the output of {found[0]}" if found else "the loss"
