"""What a packed network's weights take: binary ones a bit each, all others fp32."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ebcore.packed.graph import Bits, Graph, Tensor


@dataclass(frozen=True)
class Weights:
    """How many numbers of each kind."""

    binary: int
    real: int

    @property
    def information(self) -> int:
        """Bytes that they take with nothing around them."""
        return math.ceil(self.binary / 8) + 4 * self.real


def weights(graph: Graph) -> Weights:
    """Of a whole network; the file is this much and names, structure, checksum, alignment."""
    return _count(graph.tensors.values())


def node_weights(graph: Graph) -> list[Weights]:
    """Of each node in running order; a tensor that several nodes share counts in each."""
    return [_count(graph.tensors[name] for name in node.tensors.values()) for node in graph.nodes]


def _count(tensors: Iterable[Tensor]) -> Weights:
    binary = real = 0
    for tensor in tensors:
        if isinstance(tensor, Bits):
            binary += math.prod(tensor.shape)
        else:
            real += tensor.size
    return Weights(binary, real)
