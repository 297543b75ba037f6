"""From a trained PyTorch module to a packed graph.

Every module class has an emitter that appends nodes; `register` adds one for a new class. Emitters
are naive (one node per module), `fuse` then merges what one kernel can do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ebcore.errors import InputError
from ebcore.packed.fuse import fuse
from ebcore.packed.graph import Bits, Graph, Node, Shape

Emitter = Callable[["Builder", Any, str, int], int]
_EMITTERS: dict[type[nn.Module], Emitter] = {}
_METADATA = (
    "model", "experts", "classes", "mean", "std", "image_size", "resize", "data_sha256", "step",
    "metrics",
)  # fmt: skip


def register(*classes: type[nn.Module]) -> Callable[[Emitter], Emitter]:
    """Makes `emitter(builder, module, name, value) -> value` the one for these classes."""

    def add(emitter: Emitter) -> Emitter:
        _EMITTERS.update(dict.fromkeys(classes, emitter))
        return emitter

    return add


class Builder:
    """A graph under construction; a value is what a node reads or makes."""

    def __init__(self, input_shape: Shape) -> None:
        self.graph = Graph(input_shape)
        self._names: set[str] = set()

    def emit(self, module: nn.Module, name: str, value: int) -> int:
        """Appends the nodes of a module that reads `value`; returns the value it makes.

        Raises:
            InputError: the module's class, or a setting of it, has no packed form.
        """
        for kind in type(module).__mro__:
            if kind in _EMITTERS:
                return _EMITTERS[kind](self, module, name, value)
        raise InputError(
            f"layer {name or type(module).__name__!r}",
            f"{type(module).__name__} has no packed form",
            "Use the layers of ebcore, or register an emitter with ebcore.packed.compiler.",
        )

    def node(
        self,
        op: str,
        name: str,
        inputs: list[int],
        attrs: dict[str, int] | None = None,
        tensors: dict[str, Tensor | Bits | None] | None = None,
        source: dict[str, str] | None = None,
    ) -> int:
        """Appends one node; `source` is by default that the module `name` is this node."""
        unique, count = name, 1
        while unique in self._names:  # a module that is called twice
            count += 1
            unique = f"{name}#{count}"
        self._names.add(unique)
        names = {}
        for slot, tensor in (tensors or {}).items():
            if tensor is not None:
                names[slot] = f"{unique}.{slot}"
                stored = tensor if isinstance(tensor, Bits) else _array(tensor, names[slot])
                self.graph.tensors[names[slot]] = stored
        if source is None:
            source = {"enter": name, "leave": name}
        self.graph.nodes.append(Node(op, unique, inputs, attrs or {}, names, source))
        return len(self.graph.nodes)


def compile_graph(model: nn.Module, input_size: Shape) -> Graph:
    """The fused graph of a model for images of `input_size` (C, H, W).

    Raises:
        InputError: a layer that has no packed form (real weights or inputs among them), or a
            parameter that is not finite; the text names the layer.
    """
    builder = Builder(input_size)
    builder.emit(model, "", 0)
    graph = builder.graph
    fuse(graph)
    graph.metadata = _metadata(model)
    return graph


def _metadata(model: nn.Module) -> dict[str, Any]:
    known = getattr(model, "metadata", None) or {}
    metadata = {key: known[key] for key in _METADATA if key in known}
    config = getattr(model, "config", None) or {}
    if config:
        metadata |= {"model": config, "spec": config.get("spec") or config["architecture"]}
        metadata["experts"] = config.get("experts", 1)
    return metadata


def _array(tensor: Tensor, name: str) -> NDArray[np.float32]:
    array = np.array(tensor.detach().float().cpu().numpy(), np.float32, order="C")
    if not np.isfinite(array).all():
        raise InputError(
            f"parameter {name!r}", "holds NaN or infinity", "Pack an earlier checkpoint."
        )
    return array
