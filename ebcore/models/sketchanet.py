"""Sketch-A-Net as Hybrid Binary Networks released it: wider than the original, with BN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ebcore.models.conv_chain import Conv, conv_chain
from ebcore.models.hybrid_net import HybridNet

_LAYERS = (
    Conv(64, 15, stride=3, pool=True),
    Conv(128, 5, pool=True),
    Conv(256, 3, padding=1),
    Conv(256, 3, padding=1),
    Conv(256, 3, padding=1, pool=True),
    Conv(512, 0, drop=True),  # 7x7 at 225 px
    Conv(512, 1, drop=True),
)
_DROPOUT = {"fprec": 0.1, "wbin": 0.1, "fbin": 0.2, "hybrid": 0.2}


def sketchanet(
    num_classes: int = 250,
    *,
    version: str = "fbin",
    real_inputs: Sequence[int] = (),
    binary_last: bool = False,
    image_size: int = 225,
    in_channels: int = 1,
    stem: str = "released",
    width: float = 1.0,
    dropout: float | None = None,
) -> HybridNet:
    """Layers 1 to 7 and a classifier; as `ebcore.models.alexnet.alexnet`.

    Args:
        dropout: share of channels dropped behind layers 6 and 7 in training; None is 0.1 for
            "fprec" and "wbin", 0.2 for the others.
    """
    config: dict[str, Any] = {"architecture": "sketchanet", **locals()}
    if dropout is None:
        config["dropout"] = _DROPOUT.get(version)  # an unknown version is refused below
    return conv_chain(_LAYERS, config | {"real_inputs": sorted(real_inputs)})
