"""Fusion of neighbouring nodes, so that emitters can stay naive.

    affine -> binary_conv       the BN before the sign becomes in_scale, in_shift
    conv -> affine              BN folded into weight and bias
    binary_conv -> affine       BN folded into scale and shift; weight_binary_conv too
    conv -> activation          but a piecewise one; weight_binary_conv too
    binary_conv -> activation, binary_conv -> add, in either order

Two nodes fuse only where the first one's value has no other reader and both stand for modules.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ebcore.packed.graph import Graph, Node
from ebcore.packed.ops import AFTER_ADD, NONE, PIECEWISE


def fuse(graph: Graph) -> None:
    """Applies every rule until none fits."""
    while _fuse_one(graph):
        pass
    used = {name for node in graph.nodes for name in node.tensors.values()}
    graph.tensors = {name: tensor for name, tensor in graph.tensors.items() if name in used}


def _fuse_one(graph: Graph) -> bool:
    for first, producer in enumerate(graph.nodes):
        readers = graph.readers(first + 1)
        if len(readers) != 1:
            continue
        consumer = graph.nodes[readers[0]]
        if consumer.inputs[0] != first + 1 or consumer.inputs.count(first + 1) != 1:
            continue
        rule = _RULES.get((producer.op, consumer.op))
        if not (producer.source and consumer.source):  # parts of a module: nothing to compare with
            continue
        if rule is not None and rule(graph, producer, consumer):
            _drop(graph, first, readers[0])
            return True
    return False


def _drop(graph: Graph, first: int, second: int) -> None:
    """Removes the node that was merged: the second into the first, or an affine into its reader."""
    into_reader = graph.nodes[second].op == "binary_conv"
    gone = first if into_reader else second
    kept = graph.nodes[first].inputs[0] if into_reader else first + 1

    def new(value: int) -> int:
        value = kept if value == gone + 1 else value
        return value - 1 if value > gone else value

    del graph.nodes[gone]
    for node in graph.nodes:
        node.inputs = [new(value) for value in node.inputs]


def _affine_into_sign(graph: Graph, affine: Node, conv: Node) -> bool:
    if "in_scale" in conv.tensors:
        return False
    conv.tensors |= {"in_scale": affine.tensors["scale"], "in_shift": affine.tensors["shift"]}
    conv.source["enter"] = affine.source["enter"]
    return True


def _affine_into_conv(graph: Graph, conv: Node, affine: Node) -> bool:
    if conv.attrs["act"] != NONE:
        return False
    scale, shift = _floats(graph, affine, "scale"), _floats(graph, affine, "shift")
    weight = _floats(graph, conv, "weight")
    bias = _floats(graph, conv, "bias") if "bias" in conv.tensors else 0.0
    _set(graph, conv, "weight", weight * scale[:, None, None, None])
    _set(graph, conv, "bias", bias * scale + shift)
    return _extend(conv, affine)


def _affine_into_binary_conv(graph: Graph, conv: Node, affine: Node) -> bool:
    if conv.attrs["act"] != NONE or len(conv.inputs) > 1:
        return False
    scale, shift = _floats(graph, affine, "scale"), _floats(graph, affine, "shift")
    before = _floats(graph, conv, "shift") if "shift" in conv.tensors else 0.0
    _set(graph, conv, "scale", _floats(graph, conv, "scale") * scale)
    _set(graph, conv, "shift", before * scale + shift)
    return _extend(conv, affine)


def _activation_into_conv(graph: Graph, conv: Node, activation: Node) -> bool:
    if conv.attrs["act"] != NONE or activation.attrs["act"] == PIECEWISE:
        return False
    conv.attrs["act"] = activation.attrs["act"]
    conv.tensors |= activation.tensors
    return _extend(conv, activation)


def _activation_into_binary_conv(graph: Graph, conv: Node, activation: Node) -> bool:
    if conv.attrs["act"] != NONE:
        return False
    conv.attrs["act"] = activation.attrs["act"] + (AFTER_ADD if len(conv.inputs) > 1 else 0)
    if "origin" in activation.tensors:
        before = _floats(graph, conv, "shift") if "shift" in conv.tensors else 0.0
        _set(graph, conv, "shift", before - _floats(graph, activation, "origin"))
    conv.tensors |= {slot: n for slot, n in activation.tensors.items() if slot != "origin"}
    return _extend(conv, activation)


def _add_into_binary_conv(graph: Graph, conv: Node, add: Node) -> bool:
    made = graph.nodes.index(conv) + 1
    if len(conv.inputs) > 1 or add.inputs[1] >= made:
        return False
    conv.inputs = [conv.inputs[0], add.inputs[1]]
    conv.source["residual"] = add.source["residual"]
    return _extend(conv, add)


_RULES: dict[tuple[str, str], Callable[[Graph, Node, Node], bool]] = {
    ("affine", "binary_conv"): _affine_into_sign,
    ("conv", "affine"): _affine_into_conv,
    ("binary_conv", "affine"): _affine_into_binary_conv,
    ("conv", "activation"): _activation_into_conv,
    ("binary_conv", "activation"): _activation_into_binary_conv,
    ("weight_binary_conv", "affine"): _affine_into_binary_conv,
    ("weight_binary_conv", "activation"): _activation_into_conv,
    ("binary_conv", "add"): _add_into_binary_conv,
}


def _extend(node: Node, following: Node) -> bool:
    node.source["leave"] = following.source["leave"]
    return True


def _floats(graph: Graph, node: Node, slot: str) -> NDArray[np.float64]:
    tensor = graph.tensors[node.tensors[slot]]
    assert isinstance(tensor, np.ndarray)
    return tensor.astype(np.float64)


def _set(graph: Graph, node: Node, slot: str, values: NDArray[np.float64]) -> None:
    name = node.tensors.setdefault(slot, f"{node.name}.{slot}")
    graph.tensors[name] = np.ascontiguousarray(values, np.float32)
