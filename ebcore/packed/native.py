"""The C++ runtime behind ctypes: plain pointers in, the GIL released during a call."""

from __future__ import annotations

import ctypes
import enum
import functools
import importlib.machinery
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ebcore.errors import InputError
from ebcore.packed.graph import Bits, Graph, Shape, Tensor
from ebcore.packed.ops import OPS
from ebcore.workspace import main_checkout

_MAX_DIMS, _ATTRS, _TENSORS, _ERROR_BYTES = 5, 8, 12, 256


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_int64),
        ("dtype", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("shape", ctypes.c_int64 * _MAX_DIMS),
    )


class _Node(ctypes.Structure):
    _fields_ = (
        ("op", ctypes.c_int32),
        ("inputs", ctypes.c_int32 * 2),
        ("attrs", ctypes.c_int32 * _ATTRS),
        ("tensors", ctypes.c_int32 * _TENSORS),
    )


class TracePointers(ctypes.Structure):
    """Addresses (or None) where a run leaves one binary layer's bits, accumulators, experts."""

    _fields_ = (
        ("bits", ctypes.c_void_p),
        ("accumulators", ctypes.c_void_p),
        ("experts", ctypes.c_void_p),
    )


class NativeError(Exception):
    """The runtime refused; `node` is the index of the node at fault or -1."""

    def __init__(self, node: int, text: str) -> None:
        super().__init__(text)
        self.node = node


def library_path() -> Path:
    """The compiled kernels, which C programs may link as well; include/ebcore.h lies beside them.

    Raises:
        InputError: they have not been built.
    """
    here = Path(__file__).parent
    # A copy that `dvc exp run --temp` works in has the sources alone.
    places = (here, main_checkout() / "ebcore" / "packed")
    names = [f"_native{suffix}" for suffix in importlib.machinery.EXTENSION_SUFFIXES]
    path = next((p / n for p in places for n in names if (p / n).exists()), None)
    if path is None:
        raise InputError(
            "ebcore.packed", "its native part is not built", "Run `pip install -e .` in the clone."
        )
    return path


@functools.cache
def library() -> ctypes.CDLL:
    """The compiled kernels; raises as `library_path`."""
    lib = ctypes.CDLL(str(library_path()))
    pointer, i32, i64, text = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_char_p
    lib.ebcore_supports.argtypes = [text]
    lib.ebcore_build.argtypes = [pointer, i32, pointer, i32, pointer, text, pointer, text, i32]
    lib.ebcore_use_bf16.argtypes = [pointer, i32, text, i32]
    lib.ebcore_free.argtypes = [pointer]
    lib.ebcore_free.restype = None
    lib.ebcore_shape.argtypes = [pointer, i32, pointer]
    lib.ebcore_shape.restype = None
    lib.ebcore_run.argtypes = [pointer, pointer, i64, pointer, i32, pointer, text, i32]
    lib.ebcore_run_node.argtypes = [
        pointer, i32, pointer, pointer, i64, pointer, pointer, text, i32
    ]  # fmt: skip
    lib.ebcore_time.argtypes = [
        pointer, i32, i32, pointer, i32, i32, i32, pointer, text, i32
    ]  # fmt: skip
    lib.ebcore_limit.argtypes = [text, i32, pointer]
    lib.ebcore_limit.restype = text
    return lib


def limits(isa: str) -> dict[str, float]:
    """Multiply-accumulates per second that one core reaches in registers, by kind; takes ms."""
    rate = ctypes.c_double()
    found: dict[str, float] = {}
    while name := library().ebcore_limit(isa.encode(), len(found), ctypes.byref(rate)):
        found[name.decode()] = rate.value
    return found


class Part(enum.IntEnum):
    """What of a binary layer `NativeModel.time` times."""

    KERNEL = 0  # packed bits in, real values out: the convolution and its scale alone
    IN_NETWORK = 1  # as it runs between its neighbours, the packing for the next layer included
    END_TO_END = 2  # real values in, real values out


class NativeModel:
    """A checked network in kernel layout. Safe to run from several threads at a time.

    Raises:
        NativeError: the graph does not fit together or is too large.
    """

    def __init__(self, graph: Graph, isa: str) -> None:
        self._handle = ctypes.c_void_p()
        self._free = library().ebcore_free  # still there when the interpreter shuts down
        names = list(graph.tensors)
        tensors = (_Tensor * max(1, len(names)))()
        for slot, name in zip(tensors, names, strict=False):
            _fill_tensor(slot, graph.tensors[name])
        index = {name: i for i, name in enumerate(names)}
        nodes = (_Node * max(1, len(graph.nodes)))()
        for slot, node in zip(nodes, graph.nodes, strict=False):
            op = OPS[node.op]
            slot.op = op.code
            slot.inputs[:] = [*node.inputs, -1][:2]
            attrs = [node.attrs[name] for name in op.attrs]
            slot.attrs[: len(attrs)] = attrs
            slot.tensors[:] = [-1] * _TENSORS
            for place, name in enumerate(op.tensors):
                slot.tensors[place] = index[node.tensors[name]] if name in node.tensors else -1
        shape = (ctypes.c_int32 * 3)(*graph.input_shape)
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        status = library().ebcore_build(
            tensors, len(names), nodes, len(graph.nodes), shape, isa.encode(),
            ctypes.byref(self._handle), error, _ERROR_BYTES,
        )  # fmt: skip
        _check(status, error)

    def __del__(self) -> None:
        if self._handle:
            self._free(self._handle)

    def use_bf16(self, *, tiles: bool = True) -> None:
        """Runs real convolutions in bf16 from now on, on AMX if `tiles`; before the first run.

        Raises:
            NativeError: this CPU has no such instructions.
        """
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        _check(library().ebcore_use_bf16(self._handle, int(tiles), error, _ERROR_BYTES), error)

    def shape(self, value: int) -> Shape:
        """C, H, W of a value."""
        out = (ctypes.c_int32 * 3)()
        library().ebcore_shape(self._handle, value, out)
        return out[0], out[1], out[2]

    def run(
        self, x: int, batch: int, out: int, threads: int, traces: Sequence[TracePointers] | None
    ) -> None:
        """Runs the network; `x` and `out` are addresses of contiguous fp32 NCHW data."""
        array = (TracePointers * len(traces))(*traces) if traces is not None else None
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        status = library().ebcore_run(
            self._handle, x, batch, out, threads, array, error, _ERROR_BYTES
        )
        _check(status, error)

    def run_node(
        self,
        node: int,
        x: int,
        second: int | None,
        batch: int,
        out: int,
        trace: TracePointers | None,
    ) -> None:
        """Runs one node on given inputs (addresses, as for `run`)."""
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        pointer = None if trace is None else ctypes.byref(trace)
        status = library().ebcore_run_node(
            self._handle, node, x, second, batch, out, pointer, error, _ERROR_BYTES
        )
        _check(status, error)

    def time(
        self, node: int, part: Part, x: int, *, threads: int = 1, repeats: int = 1, inner: int = 1
    ) -> list[float]:
        """Seconds per run of a node on the image at `x`: `repeats` means over `inner` runs."""
        seconds = (ctypes.c_double * repeats)()
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        status = library().ebcore_time(
            self._handle, node, part, x, threads, repeats, inner, seconds, error, _ERROR_BYTES
        )
        _check(status, error)
        return list(seconds)


def _fill_tensor(slot: _Tensor, tensor: Tensor) -> None:
    data = tensor.data if isinstance(tensor, Bits) else tensor
    if data.dtype != (np.uint8 if isinstance(tensor, Bits) else np.float32):
        raise NativeError(-1, "has a tensor of the wrong type")
    if len(tensor.shape) > _MAX_DIMS or not data.flags.c_contiguous:
        raise NativeError(-1, "has a tensor of the wrong form")
    slot.data, slot.bytes = data.ctypes.data, data.nbytes
    slot.dtype, slot.ndim = int(isinstance(tensor, Bits)), len(tensor.shape)
    slot.shape[: slot.ndim] = list(tensor.shape)


def _check(status: int, error: ctypes.Array[ctypes.c_char]) -> None:
    if status:
        raise NativeError(status - 1 if status > 0 else -1, error.value.decode())
