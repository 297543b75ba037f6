"""Which layers choose among experts, and how evenly they do."""

from __future__ import annotations

import math

from torch import Tensor, nn

from ebcore.layers.binary_conv import BinaryConv2d


def expert_layers(model: nn.Module) -> dict[str, BinaryConv2d]:
    """The binary layers that choose among experts, by name, in the order of the network."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, BinaryConv2d) and layer.gate is not None
    }


def usage_entropy(counts: Tensor) -> float:
    """Entropy of one layer's choices in bits: 0 for one expert only, log2(N) for equal use.

    Args:
        counts: whole numbers [N], images per expert.
    """
    total = int(counts.sum())
    shares = [int(count) / total for count in counts if count]
    return sum(share * -math.log2(share) for share in shares)
