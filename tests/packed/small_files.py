"""Small packed files that together have every operation, attribute and tensor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ebcore.packed.format import encode
from ebcore.packed.graph import Bits, Graph, Node, Shape, Tensor
from ebcore.packed.ops import AFTER_ADD, OPS, PIECEWISE, PRELU, RELU

_METADATA = {"classes": ["a", "b", "c", "d"], "mean": [0.5] * 3, "std": [0.25] * 3, "experts": 2}


def small_files() -> list[bytes]:
    """The bytes of the files; the same in every call."""
    return [encode(graph) for graph in _graphs()]


def _graphs() -> list[Graph]:
    draw = np.random.default_rng(0)
    return [
        _experts(draw),
        _packed_for_the_next(draw),
        _one_wide_layer(draw),
        _real_parts(draw),
        _classifier(draw),
        _binary_weights(draw),
    ]


class _Sketch:
    """A graph whose tensors are random, given their shapes."""

    def __init__(self, draw: np.random.Generator, input_shape: Shape) -> None:
        self.draw = draw
        self.graph = Graph(input_shape, metadata=dict(_METADATA))

    def node(
        self,
        op: str,
        inputs: list[int],
        attrs: tuple[int, ...] = (),
        /,
        **shapes: tuple[int, ...],
    ) -> None:
        name = f"n{len(self.graph.nodes)}"
        names = {slot: f"{name}.{slot}" for slot in shapes}
        for slot, shape in shapes.items():
            self.graph.tensors[names[slot]] = self._tensor(slot, shape)
        values: Mapping[str, int] = dict(zip(OPS[op].attrs, attrs, strict=True))
        self.graph.nodes.append(Node(op, name, inputs, dict(values), names, {"enter": name}))

    def _tensor(self, slot: str, shape: tuple[int, ...]) -> Tensor:
        if slot == "bits":
            return Bits.of_signs(self.draw.random(shape) < 0.5)
        return self.draw.standard_normal(shape, np.float32)


def _experts(draw: np.random.Generator) -> Graph:
    """Three experts, SE, and all that an epilogue does; three groups share a word."""
    sketch = _Sketch(draw, (6, 5, 4))
    sketch.node(
        "binary_conv", [0], (3, 1, 1, 3, PRELU, 3),
        bits=(3, 6, 2, 3, 3), scale=(6,), shift=(6,), in_scale=(6,), in_shift=(6,), slope=(6,),
        gate_weight=(3, 6), gate_bias=(3,), se_reduce=(2, 6), se_expand=(6, 2),
    )  # fmt: skip
    sketch.node(
        "binary_conv", [1, 0], (1, 1, 0, 1, RELU + AFTER_ADD, 2),
        bits=(2, 6, 6, 1, 1), scale=(6,), gate_weight=(2, 6),
    )  # fmt: skip
    return sketch.graph


def _packed_for_the_next(draw: np.random.Generator) -> Graph:
    """Whole words, so that each layer packs the next one's input."""
    sketch = _Sketch(draw, (32, 4, 5))
    for value in range(2):
        sketch.node(
            "binary_conv", [value, value],
            (1 + 2 * value, 1, value, 1, PIECEWISE + AFTER_ADD * value, 1),
            bits=(1, 32, 32, 1 + 2 * value, 1 + 2 * value), scale=(32,), slope=(32,),
            in_scale=(32,), in_shift=(32,), upper=(32,), offset=(32,),
        )  # fmt: skip
    sketch.node("global_pool", [2])
    return sketch.graph


def _one_wide_layer(draw: np.random.Generator) -> Graph:
    """Enough words a patch for the prefix-parity chain; a stride, and a tail of channels."""
    sketch = _Sketch(draw, (130, 5, 3))
    sketch.node("binary_conv", [0], (3, 2, 1, 1, 0, 1), bits=(1, 9, 130, 3, 3), scale=(9,))
    return sketch.graph


def _real_parts(draw: np.random.Generator) -> Graph:
    sketch = _Sketch(draw, (3, 7, 7))
    sketch.node("conv", [0], (3, 2, 1, 1, PRELU), weight=(8, 3, 3, 3), bias=(8,), slope=(8,))
    sketch.node("pool", [1], (3, 2, 1, 1, 1, 0))
    sketch.node("affine", [2], scale=(8,), shift=(8,))
    sketch.node("activation", [3], (PIECEWISE,), slope=(8,), upper=(8,), offset=(8,), origin=(8,))
    sketch.node("add", [4, 2])
    sketch.node("concat", [5, 3])
    sketch.node("shuffle", [6], (4,))
    sketch.node("conv", [7], (1, 1, 0, 4, RELU), weight=(8, 4, 1, 1))
    return sketch.graph


def _classifier(draw: np.random.Generator) -> Graph:
    sketch = _Sketch(draw, (3, 6, 6))
    sketch.node("pool", [0], (2, 2, 0, 0, 0, 1))
    sketch.node("activation", [1], (RELU,))
    sketch.node("global_pool", [2])
    sketch.node("linear", [3], weight=(4, 3), bias=(4,))
    return sketch.graph


def _binary_weights(draw: np.random.Generator) -> Graph:
    """Real inputs: a layer in groups, and one whose kernel is its whole image."""
    sketch = _Sketch(draw, (4, 5, 6))
    sketch.node(
        "weight_binary_conv", [0], (3, 2, 1, 2, PRELU),
        bits=(6, 2, 3, 3), scale=(6,), shift=(6,), slope=(6,),
    )  # fmt: skip
    sketch.node("weight_binary_conv", [1], (3, 1, 0, 1, RELU), bits=(19, 6, 3, 3), scale=(19,))
    return sketch.graph
