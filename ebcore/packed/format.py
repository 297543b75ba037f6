"""The file format `.ebp`: a network that describes itself.

    bytes   content
    8       magic "EBPACKED"
    4       version, little endian
    32      SHA-256 of everything that follows
    8       length of the header
    ...     header: JSON with input shape, nodes, tensor table, metadata; then spaces
    ...     tensors, each at a multiple of 64 bytes from the payload's start (itself 64-aligned)

fp32 tensors are stored as they are, binary weights one bit each. Nothing in a file is executed.
kernels/file.cpp reads the same format, for programs without Python, and refuses the same files.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np

from ebcore.errors import InputError
from ebcore.files import atomic_write
from ebcore.packed.graph import Bits, Graph, Node, Tensor
from ebcore.packed.ops import OPS

MAGIC, VERSION = b"EBPACKED", 1
_PREFIX = struct.Struct("<8sI32sQ")
_ALIGN = 64
_REMEDY = "Restore it with `dvc checkout`, or make it again with `ebcore pack`."
_MAX_ELEMENTS, _MAX_NODES, _MAX_DEPTH, _MAX_HEADER, _MAX_NAME = 1 << 32, 4096, 32, 1 << 22, 256
# Control characters, line ends, marks that reorder what follows, halves of surrogate pairs.
_NOT_PLAIN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def write(graph: Graph, path: str | Path) -> None:
    """Writes a graph so that the file is whole or absent."""
    with atomic_write(path, "wb") as file:
        file.write(encode(graph))


def read(path: str | Path) -> Graph:
    """Reads and checks a file.

    Raises:
        InputError: missing, truncated, altered, or malformed in any way; the text names the file.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            path, f"cannot be read ({error.strerror})", "Give a packed file."
        ) from None
    return decode(data, path)


def encode(graph: Graph) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: names and metadata past 4 MiB.
    """
    table: dict[str, Any] = {}
    payload = bytearray()
    for name, tensor in sorted(graph.tensors.items()):
        payload.extend(bytes(-len(payload) % _ALIGN))
        raw = (tensor.data if isinstance(tensor, Bits) else tensor).tobytes()
        dtype = "bits" if isinstance(tensor, Bits) else "f32"
        table[name] = {"dtype": dtype, "shape": list(tensor.shape), "offset": len(payload)}
        payload.extend(raw)
    header = {
        "input_shape": list(graph.input_shape),
        "nodes": [vars(node) for node in graph.nodes],
        "tensors": table,
        "metadata": graph.metadata,
    }
    text = json.dumps(header, sort_keys=True, allow_nan=False).encode()
    if len(text) > _MAX_HEADER - _ALIGN:
        raise InputError("packed network", "has more metadata than a file takes", "Leave some out.")
    return seal(text, bytes(payload))


def seal(header: bytes, payload: bytes) -> bytes:
    """Joins header and payload behind magic, version and checksum."""
    header += b" " * (-(_PREFIX.size + len(header)) % _ALIGN)
    body = struct.pack("<Q", len(header)) + header + payload
    return MAGIC + struct.pack("<I", VERSION) + hashlib.sha256(body).digest() + body


def decode(data: bytes, path: str | Path) -> Graph:
    """The graph in the bytes of a file; raises as `read`, with `path` as the name."""

    def refuse(reason: str) -> InputError:
        return InputError(path, reason, _REMEDY)

    if len(data) < _PREFIX.size or data[:8] != MAGIC:
        short = len(data) < _PREFIX.size and data[:8] == MAGIC[: len(data[:8])]
        raise refuse("is truncated" if short else "is no packed network (its first bytes differ)")
    _, version, digest, length = _PREFIX.unpack_from(data)
    if version != VERSION:
        raise InputError(
            path, f"has format version {version}, this is {VERSION}", "Pack its checkpoint again."
        )
    if hashlib.sha256(data[44:]).digest() != digest:
        raise refuse("is truncated or was altered: its SHA-256 differs")
    end = _PREFIX.size + length
    if end > len(data):
        raise refuse("has a header longer than the file")
    if length > _MAX_HEADER or end % _ALIGN:
        raise refuse("has a header of an impossible length")
    try:
        text = data[_PREFIX.size : end].decode()
        header = json.loads(
            text, parse_constant=_finite, parse_float=_finite, object_pairs_hook=_object
        )
        return _Reader(memoryview(data)[end:]).graph(header)
    except (ValueError, RecursionError) as error:  # also too many digits, or bytes that are no text
        raise refuse(f"has a malformed header ({error})") from None


class _Malformed(ValueError):
    pass


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Malformed(f"{text:.20} is not a finite number")
    return value


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(members)
    if len(result) != len(members):
        raise _Malformed("a name comes twice")
    return result


class _Reader:
    """Turns the parsed header into a Graph; trusts nothing in it."""

    def __init__(self, payload: memoryview) -> None:
        self.payload = payload

    def graph(self, header: Any) -> Graph:
        fields = _fields(
            header, "header", input_shape=list, nodes=list, tensors=dict, metadata=dict
        )
        shape = _integers(fields["input_shape"], "input_shape", length=3)
        if len(fields["nodes"]) > _MAX_NODES:
            raise _Malformed("too many nodes")
        _check_depth(fields["metadata"])
        table = fields["tensors"]
        if not all(_is_name(name) for name in table):
            raise _Malformed("a tensor's name is too long or not printable")
        tensors = {name: self.tensor(name, entry) for name, entry in table.items()}
        self._check_overlap(table, tensors)
        nodes = [_node(entry, i, tensors) for i, entry in enumerate(fields["nodes"])]
        used = {name for node in nodes for name in node.tensors.values()}
        if used != set(tensors):
            raise _Malformed("tensors and nodes do not match")
        return Graph((shape[0], shape[1], shape[2]), nodes, tensors, fields["metadata"])

    def tensor(self, name: str, entry: Any) -> Tensor:
        fields = _fields(entry, f"tensor {name}", dtype=str, shape=list, offset=int)
        shape = tuple(_integers(fields["shape"], f"shape of {name}"))
        count = math.prod(shape)
        if not 1 <= len(shape) <= 5 or count > _MAX_ELEMENTS:
            raise _Malformed(f"impossible shape of {name}")
        sizes = {"f32": 4 * count, "bits": (count + 7) // 8}
        size, offset = sizes.get(fields["dtype"]), fields["offset"]
        if size is None:
            raise _Malformed(f"unknown type of {name}")
        if offset % _ALIGN or offset < 0 or offset + size > len(self.payload):
            raise _Malformed(f"{name} lies outside the file")
        raw = self.payload[offset : offset + size]
        if fields["dtype"] == "bits":
            bits = np.frombuffer(raw, np.uint8)
            if count % 8 and bits[-1] >> (count % 8):
                raise _Malformed(f"{name} has bits past its end")
            return Bits(shape, bits)
        values = np.frombuffer(raw, np.dtype("<f4")).astype(np.float32, copy=False).reshape(shape)
        if not np.isfinite(values).all():
            raise _Malformed(f"{name} holds NaN or infinity")
        return values

    def _check_overlap(self, table: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        end = 0
        for name in sorted(table, key=lambda name: int(table[name]["offset"])):
            tensor = tensors[name]
            offset = table[name]["offset"]
            if offset != end + -end % _ALIGN:
                raise _Malformed(f"{name} overlaps another tensor or leaves a gap")
            end = offset + (tensor.data if isinstance(tensor, Bits) else tensor).nbytes
        if end != len(self.payload):
            raise _Malformed("the file is longer than its tensors")


def _node(entry: Any, index: int, tensors: dict[str, Tensor]) -> Node:
    what = f"node {index}"
    fields = _fields(
        entry, what, op=str, name=str, inputs=list, attrs=dict, tensors=dict, source=dict
    )
    if not _is_name(fields["name"]):
        raise _Malformed(f"{what} has a name that is too long or not printable")
    op = OPS.get(fields["op"])
    if op is None:
        raise _Malformed(f"{what} has an unknown operation")
    inputs = _integers(fields["inputs"], f"inputs of {what}")
    if len(inputs) not in op.inputs or not all(0 <= value <= index for value in inputs):
        raise _Malformed(f"{what} has wrong inputs")
    if set(fields["attrs"]) != set(op.attrs):
        raise _Malformed(f"{what} has wrong attributes")
    _integers(list(fields["attrs"].values()), f"attributes of {what}")
    if not set(fields["tensors"]) <= set(op.tensors):
        raise _Malformed(f"{what} has unknown tensors")
    for texts in (fields["tensors"], fields["source"]):
        if not all(isinstance(text, str) for text in texts.values()):
            raise _Malformed(f"{what} has a name that is no text")
    if not all(name in tensors for name in fields["tensors"].values()):
        raise _Malformed(f"{what} names a tensor that does not exist")
    return Node(**fields)


def _fields(value: Any, what: str, **types: type) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(types):
        raise _Malformed(f"{what} has wrong fields")
    for name, kind in types.items():
        if type(value[name]) is not kind:
            raise _Malformed(f"{name} of {what} has the wrong type")
    return value


def _integers(values: list[Any], what: str, length: int | None = None) -> list[int]:
    if length is not None and len(values) != length:
        raise _Malformed(f"{what} has the wrong length")
    for value in values:
        if type(value) is not int or not 0 <= value < 1 << 31:
            raise _Malformed(f"{what} is out of range")
    return values


def _is_name(text: str) -> bool:
    return len(text) <= _MAX_NAME and not _NOT_PLAIN.search(text)


def _check_depth(value: Any, depth: int = 0) -> None:
    if depth > _MAX_DEPTH:
        raise _Malformed("metadata is nested too deeply")
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, depth + 1)
