"""A packed network as data: nodes in running order and their tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True)
class Bits:
    """A tensor of +1 and -1: element i is bit i % 8 of byte i / 8, 1 means +1."""

    shape: tuple[int, ...]
    data: NDArray[np.uint8]

    @classmethod
    def of_signs(cls, positive: NDArray[np.bool_]) -> Bits:
        """From booleans, true for +1."""
        return cls(positive.shape, np.packbits(positive.reshape(-1), bitorder="little"))


Tensor = Bits | NDArray[np.float32]


@dataclass
class Node:
    """One operation.

    Attributes:
        op: a key of `ops.OPS`.
        name: of the PyTorch module it comes from; for `binary_conv` that of the convolution.
        inputs: values it reads; 0 is the network's input, i + 1 the output of node i.
        attrs, tensors: by the names of `ops.OPS`; a tensor's value is its name in the graph.
        source: the PyTorch modules between which this node stands, for `agreement`:
            `enter` (its input is the node's), `leave` (its output is the node's) and, with a
            second input, `residual` (its output is that).
    """

    op: str
    name: str
    inputs: list[int]
    attrs: dict[str, int] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)


@dataclass
class Graph:
    """A whole network; the output is the last node's.

    Attributes:
        input_shape: C, H, W of an image.
        metadata: JSON-able facts about the model: classes, mean, std, experts, ...
    """

    input_shape: Shape
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def readers(self, value: int) -> list[int]:
        """Indices of the nodes that read a value."""
        return [i for i, node in enumerate(self.nodes) if value in node.inputs]
