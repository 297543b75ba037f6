"""Networks known by name, and the options that a name stands for."""

from __future__ import annotations

from typing import Any

# What `ebcore.models.resnet` uses where neither the caller nor the name decides: EBConv's network.
FAMILY: dict[str, Any] = {
    "experts": 4,
    "stem": "efficient",
    "shortcut": "prelu",
    "pointwise": True,
    "shuffle": False,
    "se": False,
    "layout": "expert",
    "activation": None,  # the layout's own
    "activation_position": None,
}

_RESNET_18: dict[str, Any] = {
    "structure": "2222-1-1:1:1:1",
    "experts": 1,
    "stem": "basic",
    "shortcut": "plain",
    "pointwise": False,
}
_RESNET_18_BINARY_SHORTCUTS = _RESNET_18 | {"shortcut": "binary"}

# Real-to-Binary's Table 1 in its order, then FTBNN. That paper does not draw the first four; where
# their blocks come from is said in `ebcore.models.layout`. Shortcuts average-pool before their 1x1.
NETWORKS: dict[str, dict[str, Any]] = {
    "bnn-18": _RESNET_18_BINARY_SHORTCUTS | {"layout": "bnn"},
    "xnor-18": _RESNET_18_BINARY_SHORTCUTS | {"layout": "xnor"},
    "double-skip-18": _RESNET_18_BINARY_SHORTCUTS | {"layout": "bi-real"},
    "bi-real-18": _RESNET_18 | {"layout": "bi-real"},
    "strong-baseline-18": _RESNET_18,
    "real-to-binary-18": _RESNET_18 | {"se": True},
    # FTBNN's baseline as we have it: Bi-Real Net with the activation that was best on the digits.
    "ftbnn-18": _RESNET_18
    | {"layout": "bi-real", "activation": "shifted_prelu", "activation_position": "before"},
}


def options_of(name: str) -> dict[str, Any]:
    """All options a name decides; any other name is a structure of the EBConv family."""
    return FAMILY | {"structure": name} | NETWORKS.get(name, {})
