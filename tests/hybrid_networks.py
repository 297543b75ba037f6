"""Small networks of Hybrid Binary Networks, for images of 3 x 32 x 32."""

from __future__ import annotations

from typing import Any

from ebcore.models import HybridNet
from ebcore.models.architectures import HYBRID

SETTINGS: dict[str, dict[str, Any]] = {
    "alexnet": {"width": 1 / 16, "image_size": 32, "stem": "small"},
    "sketchanet": {"width": 1 / 8, "image_size": 32, "stem": "small", "in_channels": 3},
    "hybrid-resnet-18": {"width": 8, "stem": "small"},
    "squeezenet": {"width": 1 / 4, "stem": "small", "in_channels": 3},
}
PICKED = {"alexnet": (6, 7), "sketchanet": (7,), "hybrid-resnet-18": (3, 16), "squeezenet": (3, 4)}


def small(name: str, version: str, **settings: Any) -> HybridNet:
    """A network for 5 classes; a hybrid keeps real inputs in `PICKED`."""
    if version == "hybrid":
        settings.setdefault("real_inputs", PICKED[name])
    return HYBRID[name](5, version=version, **SETTINGS[name], **settings)
