"""AlexNet without groups, as Hybrid Binary Networks released it (section 3.4 of the notes)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ebcore.models.conv_chain import Conv, conv_chain
from ebcore.models.hybrid_net import HybridNet

_LAYERS = (
    Conv(96, 11, stride=4, padding=2, pool=True),
    Conv(256, 5, padding=2, pool=True),
    Conv(384, 3, padding=1),
    Conv(384, 3, padding=1),
    Conv(256, 3, padding=1, pool=True),
    Conv(4096, 0, drop=True),  # 6x6 at 224 px
    Conv(4096, 1, drop=True),
)


def alexnet(
    num_classes: int = 1000,
    *,
    version: str = "fbin",
    real_inputs: Sequence[int] = (),
    binary_last: bool = False,
    image_size: int = 224,
    in_channels: int = 3,
    stem: str = "released",
    width: float = 1.0,
    dropout: float = 0.5,
) -> HybridNet:
    """Layers 1 to 7 and a classifier.

    Args:
        version, real_inputs, binary_last: see `ebcore.models.hybrid_net.Version`.
        image_size: px, side of the images; the kernel of layer 6 follows from it.
        stem: "released", or "small" for small images: a first layer of 3x3 without stride or pool.
        width: factor on the channels of all layers.
        dropout: share of channels dropped behind layers 6 and 7 in training.

    Raises:
        InputError: settings that do not go together, or an image that is too small.
    """
    config: dict[str, Any] = {"architecture": "alexnet", **locals()}
    return conv_chain(_LAYERS, config | {"real_inputs": sorted(real_inputs)})
