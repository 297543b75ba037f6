"""How the layers of a block are put together, as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from ebcore.errors import InputError
from ebcore.layers import ShiftedPReLU, TwoSlopePReLU

_NORM_EPS = 1e-4  # as in the blocks of the EBConv authors' test model
_LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "norm": lambda channels: nn.BatchNorm2d(channels, eps=_NORM_EPS),
    "prelu": nn.PReLU,
    "two_slope_prelu": TwoSlopePReLU,
    "shifted_prelu": ShiftedPReLU,
    "relu": lambda _: nn.ReLU(),
    "hardtanh": lambda _: nn.Hardtanh(),
}
ACTIVATIONS = ("none", "relu", "prelu", "two_slope_prelu", "shifted_prelu")
POSITIONS = ("before", "after", "both")  # of an activation: the shortcut's addition


@dataclass(frozen=True)
class Layout:
    """The order of layers in a block.

    Attributes:
        unit: a convolution ("conv", which takes the sign of its input) and what stands around it.
        joint: what stands after an addition; with `long_skip` between two units, too.
        long_skip: one shortcut spans all units of a block; else each unit has its own.
        scale: of every binary convolution, shortcuts included; see `ebcore.layers.BinaryConv2d`.
        stem: the activation that ends the stem; "none" where signs are taken of its values, as
            they would all be +1 behind a ReLU.
    """

    unit: tuple[str, ...]
    joint: tuple[str, ...] = ()
    long_skip: bool = False
    scale: str = "learned"
    stem: str = "relu"

    @property
    def before(self) -> tuple[str, ...]:
        """What a unit does to its input."""
        return self.unit[: self.unit.index("conv")]

    @property
    def after(self) -> tuple[str, ...]:
        """What a unit does to its convolution's output."""
        return self.unit[self.unit.index("conv") + 1 :]


LAYOUTS = {
    # Real-to-Binary's strong baseline (section 4.1 there), taken over by EBConv.
    "expert": Layout(("norm", "conv", "prelu")),
    # Bi-Real Net's released code: no activation, no norm before the sign. Its scale is detached
    # from the gradient; here it is not, which the BatchNorm behind it cancels.
    "bi-real": Layout(("conv", "norm"), scale="mean", stem="none"),
    # XNOR-Net's order norm, sign, conv; activation and skip as the Hybrid paper's FBin networks.
    # XNOR-Net's second scale, the map K of the input's magnitudes, is left out: our choice.
    "xnor": Layout(("norm", "conv"), joint=("relu",), long_skip=True, scale="mean"),
    # BNN's released residual block: the skip is added before the block's last norm. First and
    # last layer stay real, as in Real-to-Binary's count; binary in that code.
    "bnn": Layout(
        ("conv",), joint=("norm", "hardtanh"), long_skip=True, scale="none", stem="hardtanh"
    ),
    # ResNet's own; the twin that is real-valued once its binarization is switched off.
    "real": Layout(("conv", "norm"), joint=("relu",), long_skip=True, scale="none"),
}


def with_activation(layout: Layout, activation: str | None, position: str | None) -> Layout:
    """`layout` with its activations exchanged, moved, or both.

    Args:
        activation: one of `ACTIVATIONS`; None is the layout's own.
        position: one of `POSITIONS`; None is where the layout has it, or would by its kind:
            after the addition where one skip spans a block, else before it.

    Raises:
        InputError: a position without an activation, or a ReLU whose values are signed next.
    """
    if activation is None and position is None:
        return layout
    kinds = [kind for kind in (*layout.unit, *layout.joint) if kind not in ("conv", "norm")]
    kind = activation or (kinds[0] if kinds else "none")
    if kind == "none" and position is not None:
        raise InputError(
            f"activation_position {position!r}", "has no activation", "Choose one, or leave it out."
        )
    position = position or ("after" if layout.long_skip else "before")
    if kind == "relu" and position != "before" and "norm" not in layout.before:
        raise InputError(
            f"activation 'relu' {position} the addition",
            "leaves nothing negative, and this layout takes signs of it",
            "Use activation_position='before', another activation, or layout='expert'.",
        )

    def placed(layers: tuple[str, ...], *positions: str) -> tuple[str, ...]:
        kept = tuple(layer for layer in layers if layer in ("conv", "norm"))
        return kept + (kind,) * (kind != "none" and position in positions)

    return replace(
        layout,
        unit=placed(layout.unit, "before", "both"),
        joint=placed(layout.joint, "after", "both"),
    )


def make_layers(kinds: Sequence[str], channels: int) -> list[nn.Module]:
    """The layers of these kinds for `channels` channels."""
    return [_LAYERS[kind](channels) for kind in kinds]
