"""How the layers of a block are put together, as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

_NORM_EPS = 1e-4  # as in the blocks of the EBConv authors' test model
_LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "norm": lambda channels: nn.BatchNorm2d(channels, eps=_NORM_EPS),
    "prelu": nn.PReLU,
    "relu": lambda _: nn.ReLU(),
    "hardtanh": lambda _: nn.Hardtanh(),
}


@dataclass(frozen=True)
class Layout:
    """The order of layers in a block.

    Attributes:
        unit: a convolution ("conv", which takes the sign of its input) and what stands around it.
        joint: what stands between two units and after the block's addition; only with `long_skip`.
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


def make_layers(kinds: Sequence[str], channels: int) -> list[nn.Module]:
    """The layers of these kinds for `channels` channels."""
    return [_LAYERS[kind](channels) for kind in kinds]
