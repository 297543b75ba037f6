"""A packed network that runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ebcore.errors import InputError
from ebcore.packed import format as file_format
from ebcore.packed.graph import Graph, Node, Shape
from ebcore.packed.isa import isa
from ebcore.packed.native import NativeError, NativeModel, TracePointers


@dataclass
class LayerTrace:
    """Inside one binary convolution.

    Attributes:
        bits: bool [B, I, H, W], true where the pre-sign value is >= 0.
        accumulators: int32 [B, O, H', W'], the convolution of the signs.
        expert: int64 [B], the chosen expert.
    """

    bits: Tensor
    accumulators: Tensor
    expert: Tensor


@dataclass
class Trace:
    """`logits` [B, K] and, by the name of the PyTorch layer, the inside of every binary layer."""

    logits: Tensor
    layers: dict[str, LayerTrace]


class PackedModel:
    """Runs a graph on the CPU in one native call. Safe to call from several threads at a time.

    Args:
        graph: from `compile_graph` or `format.read`.
        origin: what errors name: the file, or the model's name.
        real: "fp32", or "bf16": inputs and weights of the real convolutions rounded to bf16, sums
            in fp32. Needs a CPU with AVX512_BF16 and pays where it has AMX; `ebcore evaluate
            --real bf16` tells what it costs in accuracy. An infinite activation may make NaN of
            its neighbours.

    Attributes:
        threads: CPU threads that share a batch's images, or each image of a smaller batch.
        isa: the instruction set in use.

    Raises:
        InputError: the graph does not fit together, or this CPU has no bf16 instructions.
    """

    def __init__(
        self, graph: Graph, origin: str | Path = "packed network", *, real: str = "fp32"
    ) -> None:
        if real not in ("fp32", "bf16"):
            raise InputError(f"real={real!r}", "is no number format", 'Use "fp32" or "bf16".')
        self.graph = graph
        self.isa = isa()
        self.threads = 1
        try:
            self._native = NativeModel(graph, self.isa)
        except NativeError as error:
            raise InputError(
                origin, f"{self._place(error)}{error}", "Pack its checkpoint again."
            ) from None
        if real == "bf16":
            try:
                self._native.use_bf16()
            except NativeError as error:
                raise InputError('real="bf16"', str(error), 'Use "fp32".') from None
        self._index = {node.name: i for i, node in enumerate(graph.nodes)}
        self._flat = graph.nodes[-1].op in ("linear", "global_pool")

    @property
    def metadata(self) -> dict[str, Any]:
        """What the file says about itself: classes, mean, std, image_size, experts, spec, ..."""
        return self.graph.metadata

    @property
    def input_shape(self) -> Shape:
        """C, H, W of an image."""
        return self.graph.input_shape

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes."""
        return len(file_format.encode(self.graph))

    @property
    def binary_layers(self) -> list[str]:
        """Names of the binary convolutions in running order."""
        return [node.name for node in self.graph.nodes if node.op == "binary_conv"]

    def shape(self, value: int) -> Shape:
        """C, H, W of a value: 0 is the input, i + 1 the output of node i."""
        return self._native.shape(value)

    def save(self, path: str | Path) -> None:
        """Writes the file, whole or not at all."""
        file_format.write(self.graph, path)

    def __call__(self, x: Tensor) -> Tensor:
        """Images float32 [B, C, H, W], normalised as in training -> logits float32 [B, K].

        Raises:
            InputError: another shape or type, or NaN in the input.
        """
        return self._run(x, None)

    def trace(self, x: Tensor) -> Trace:
        """Like a call, with the inside of every binary layer. Slower."""
        traces = {
            i: self._empty_trace(i, len(x))
            for i, node in enumerate(self.graph.nodes)
            if node.op == "binary_conv"
        }
        pointers = [
            _pointers(traces[i]) if i in traces else TracePointers()
            for i in range(len(self.graph.nodes))
        ]
        logits = self._run(x, pointers)
        return Trace(logits, {self.graph.nodes[i].name: t for i, t in traces.items()})

    def run_layer(
        self, name: str, x: Tensor, residual: Tensor | None = None, *, traced: bool = True
    ) -> tuple[Tensor, LayerTrace | None]:
        """One node alone on a given real input, for comparing it with its PyTorch counterpart.

        Args:
            name: of a node of the graph.
            x: float32 [B, C, H, W], what the node's first module gets in PyTorch.
            residual: what the node adds after its activation, where it does.
            traced: whether a binary layer leaves its inside too; slower.

        Returns:
            Its output [B, O, H', W'] and, for a traced binary layer, its inside.
        """
        index = self._index[name]
        node = self.graph.nodes[index]
        x = self._checked(x, self._native.shape(node.inputs[0]), f"input of {name}")
        second = None
        if len(node.inputs) > 1:
            if residual is None:
                raise InputError(f"layer {name}", "adds a residual", "Give it one.")
            shape = self._native.shape(node.inputs[1])
            second = self._checked(residual, shape, f"residual of {name}")
            if len(second) != len(x):
                raise InputError(f"residual of {name}", "has another batch size", "Match x.")
        out = torch.empty(len(x), *self._native.shape(index + 1))
        trace = self._empty_trace(index, len(x)) if traced and node.op == "binary_conv" else None
        try:
            self._native.run_node(
                index,
                x.data_ptr(),
                None if second is None else second.data_ptr(),
                len(x),
                out.data_ptr(),
                None if trace is None else _pointers(trace),
            )
        except NativeError as error:
            raise self._runtime_error(error) from None
        return out, trace

    def _run(self, x: Tensor, traces: list[TracePointers] | None) -> Tensor:
        x = self._checked(x, self.input_shape, "input")
        if type(self.threads) is not int or not 1 <= self.threads <= 1024:
            raise InputError(
                f"threads={self.threads!r}", "is not 1 to 1024", "Give a whole number."
            )
        shape = self._native.shape(len(self.graph.nodes))
        out = torch.empty(len(x), *(shape[:1] if self._flat else shape))
        try:
            self._native.run(x.data_ptr(), len(x), out.data_ptr(), self.threads, traces)
        except NativeError as error:
            raise self._runtime_error(error) from None
        return out

    def _checked(self, x: Tensor, shape: Shape, what: str) -> Tensor:
        if x.dtype != torch.float32 or x.device.type != "cpu":
            raise InputError(what, f"is {x.dtype} on {x.device}", "Give float32 on the CPU.")
        if x.ndim != 4 or tuple(x.shape[1:]) != shape:
            raise InputError(
                what, f"has shape {list(x.shape)}", f"Give [batch, {', '.join(map(str, shape))}]."
            )
        return x.detach().contiguous()

    def _empty_trace(self, index: int, batch: int) -> LayerTrace:
        enter = self._native.shape(self.graph.nodes[index].inputs[0])
        leave = self._native.shape(index + 1)
        return LayerTrace(
            torch.empty(batch, *enter, dtype=torch.bool),
            torch.empty(batch, *leave, dtype=torch.int32),
            torch.empty(batch, dtype=torch.int64),
        )

    def _place(self, error: NativeError) -> str:
        nodes: list[Node] = self.graph.nodes
        return f"layer {nodes[error.node].name!r} " if 0 <= error.node < len(nodes) else ""

    def _runtime_error(self, error: NativeError) -> InputError:
        return InputError("packed network", f"{self._place(error)}{error}", "Check the input.")


def load(path: str | Path, *, real: str = "fp32") -> PackedModel:
    """Opens a packed file. Never runs code from it.

    Args:
        real: "fp32" or "bf16", see `PackedModel`.

    Raises:
        InputError: missing, truncated, altered or malformed; the text names the file. Or this CPU
            has no bf16 instructions.
    """
    return PackedModel(file_format.read(path), path, real=real)


def pack(model: nn.Module, input_size: Shape) -> PackedModel:
    """Packs a trained network whose binary layers have binary inputs and weights.

    Args:
        model: e.g. from `ebcore.load_model`; its BN statistics are taken as they are.
        input_size: C, H, W of an image.

    Raises:
        InputError: a layer has no packed form, or the image is too small for the network.
    """
    import ebcore.packed.emitters  # noqa: F401  (fills the registry)
    from ebcore.packed.compiler import compile_graph

    c, h, w = input_size
    return PackedModel(compile_graph(model, (c, h, w)), type(model).__name__)


def _pointers(trace: LayerTrace) -> TracePointers:
    return TracePointers(
        trace.bits.data_ptr(), trace.accumulators.data_ptr(), trace.expert.data_ptr()
    )
