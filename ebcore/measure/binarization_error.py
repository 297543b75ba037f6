"""How much of each layer's input its sign loses (Hybrid Binary Networks, its poster)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ebcore.binarize import hard_sign
from ebcore.errors import InputError
from ebcore.models.binarization import binary_convs


@dataclass(frozen=True)
class BinarizationError:
    """Means over images of one layer's input I, the output of a BatchNorm.

    Attributes:
        error: E = |I - sign(I)|^2 / n for n values an image; no scale, as in the released code.
        power: |I|^2 / n.
    """

    error: float
    power: float


def binarization_errors(
    model: nn.Module, batches: Iterable[Tensor]
) -> dict[str, BinarizationError]:
    """E of every convolution whose inputs are binary, by name, in forward order of definition.

    Runs the model in eval mode on its own device and leaves it as it was. Sums are in float64, so
    that the batch size changes nothing but rounding.

    Args:
        model: a trained network, fully binary where every layer's error is asked for.
        batches: images float32 [B, C, H, W], of the training set.

    Raises:
        InputError: no images, or no layer with binary inputs.
    """
    convs = {name: conv for name, conv in binary_convs(model).items() if conv.binary_input}
    if not convs:
        raise InputError(
            "the network", "has no layer with binary inputs", "Measure a fully binary one."
        )
    sums = {name: torch.zeros(2, dtype=torch.float64) for name in convs}

    def add(name: str, x: Tensor) -> None:
        per_image = [((x - hard_sign(x)) ** 2).flatten(1), (x**2).flatten(1)]
        sums[name] += torch.stack([v.double().mean(1).sum().cpu() for v in per_image])

    def hook(name: str) -> Any:
        return lambda _, args: add(name, args[0].detach())

    device = next(model.parameters()).device
    training = [module for module in model.modules() if module.training]
    images = 0
    with ExitStack() as stack:
        for name, conv in convs.items():
            stack.callback(conv.register_forward_pre_hook(hook(name)).remove)
        stack.callback(_restore_training, training)
        model.eval()
        with torch.inference_mode():
            for batch in batches:
                model(batch.to(device))
                images += len(batch)
    if not images:
        raise InputError("the binarization error", "has no images", "Give at least one batch.")
    return {name: BinarizationError(*(total / images).tolist()) for name, total in sums.items()}


def _restore_training(modules: list[nn.Module]) -> None:
    for module in modules:
        module.training = True
