"""Networks by the name that their checkpoints keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ebcore.errors import InputError
from ebcore.models.alexnet import alexnet
from ebcore.models.hybrid_resnet import hybrid_resnet
from ebcore.models.network import Network
from ebcore.models.resnet import resnet
from ebcore.models.sketchanet import sketchanet
from ebcore.models.squeezenet import squeezenet

HYBRID = {
    "alexnet": alexnet,
    "sketchanet": sketchanet,
    "hybrid-resnet-18": hybrid_resnet,
    "squeezenet": squeezenet,
}
_EBCONV = "resnet"  # the one whose checkpoints name none
ARCHITECTURES: dict[str, Callable[..., Network]] = {_EBCONV: resnet, **HYBRID}


def build(config: dict[str, Any]) -> Network:
    """The network with random weights that `config` describes, as `Network.config` keeps it.

    Raises:
        InputError: an unknown architecture, or settings that it refuses.
        TypeError: a setting that it does not have.
    """
    settings = dict(config)
    name = settings.pop("architecture", _EBCONV)
    if name not in ARCHITECTURES:
        raise InputError(
            f"architecture {name!r}", "is unknown", f"Use one of {', '.join(ARCHITECTURES)}."
        )
    return ARCHITECTURES[name](**settings)
