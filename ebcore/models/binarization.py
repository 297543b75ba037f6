"""What is binary in a network: state that a recipe sets and a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d


def binary_convs(model: nn.Module) -> dict[str, BinaryConv2d]:
    """Every `BinaryConv2d` of a model by its name, in forward order of definition."""
    return {name: m for name, m in model.named_modules() if isinstance(m, BinaryConv2d)}


def set_binarization(
    model: nn.Module, *, inputs: bool, weights: bool, layers: Iterable[str] | None = None
) -> None:
    """Switches binary convolutions of a model (EBConv section 3, stages I and II).

    Args:
        layers: the names of those to switch; None switches all.

    Raises:
        InputError: a name that is no binary convolution of the model.
    """
    convs = binary_convs(model)
    for name in convs if layers is None else layers:
        if name not in convs:
            raise InputError(
                f"layer {name!r}", "is no binary convolution", f"Choose from {', '.join(convs)}."
            )
        convs[name].binary_input, convs[name].binary_weight = inputs, weights


def get_binarization(model: nn.Module) -> dict[str, list[bool]]:
    """{layer: [inputs are binary, weights are binary]}."""
    return {name: [c.binary_input, c.binary_weight] for name, c in binary_convs(model).items()}


def restore_binarization(model: nn.Module, state: dict[str, list[bool]]) -> None:
    """Applies what `get_binarization` returned for a model of the same structure."""
    for name, conv in binary_convs(model).items():
        conv.binary_input, conv.binary_weight = state[name]
