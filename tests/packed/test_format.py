"""The file format: what is not exactly right is refused with a readable error."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebcore.errors import InputError
from ebcore.models import EBResNet
from ebcore.packed import format as file_format
from ebcore.packed import load, pack
from ebcore.packed.graph import Bits, Graph, Node
from tests.packed.c_library import agreed

Header = dict[str, Any]
PREFIX = 8 + 4 + 32 + 8  # magic, version, SHA-256, header length


@pytest.fixture
def packed_bytes(network: Callable[..., EBResNet]) -> bytes:
    model = network(experts=2, se=True, width=4, stem_width=8)
    return file_format.encode(pack(model, (3, 8, 8)).graph)


def _split(data: bytes) -> tuple[Header, bytes]:
    end = PREFIX + int.from_bytes(data[PREFIX - 8 : PREFIX], "little")
    return json.loads(data[PREFIX:end]), data[end:]


def _refused(data: bytes, folder: Path) -> str:
    path = folder / "bad.ebp"
    path.write_bytes(data)
    with pytest.raises(InputError) as error:
        load(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text and error.value.remedy
    assert agreed(data) == error.value.reason
    return text


def test_rebuilt_file_is_accepted(packed_bytes: bytes, tmp_path: Path) -> None:
    # What the tests below alter and seal again is otherwise right.
    header, payload = _split(packed_bytes)
    (tmp_path / "net.ebp").write_bytes(file_format.seal(json.dumps(header).encode(), payload))
    load(tmp_path / "net.ebp")


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.ebp: cannot be read"):
        load(tmp_path / "nothing.ebp")
    assert "no packed network" in _refused(b"PK\x03\x04" * 100, tmp_path)
    assert "truncated" in _refused(b"", tmp_path)


def test_truncated_files(packed_bytes: bytes, tmp_path: Path) -> None:
    for length in [1, 7, 8, 20, 51, 52, 100, len(packed_bytes) // 2, len(packed_bytes) - 1]:
        assert "truncated" in _refused(packed_bytes[:length], tmp_path)
    assert "altered" in _refused(packed_bytes + b"\0", tmp_path)


def test_every_flipped_bit_is_noticed(packed_bytes: bytes, tmp_path: Path) -> None:
    draw = random.Random(0)
    places = [*range(PREFIX), *(draw.randrange(len(packed_bytes)) for _ in range(200))]
    for place in places:
        data = bytearray(packed_bytes)
        data[place] ^= 1 << draw.randrange(8)
        _refused(bytes(data), tmp_path)


def test_newer_version_is_named(packed_bytes: bytes, tmp_path: Path) -> None:
    data = packed_bytes[:8] + (2).to_bytes(4, "little") + packed_bytes[12:]
    assert "version 2" in _refused(data, tmp_path)


def _first(header: Header, op: str) -> Header:
    return next(node for node in header["nodes"] if node["op"] == op)


def _tensor(header: Header, op: str, slot: str) -> Header:
    return header["tensors"][_first(header, op)["tensors"][slot]]


def _set(container: Any, key: Any, value: Any) -> None:
    container[key] = value


# Each leaves a file with a right checksum that lies about something else.
LIES: dict[str, Callable[[Header], object]] = {
    "offset past the end": lambda h: _set(_tensor(h, "linear", "weight"), "offset", 1 << 40),
    "offset below zero": lambda h: _set(_tensor(h, "linear", "weight"), "offset", -64),
    "offset not aligned": lambda h: _set(_tensor(h, "linear", "weight"), "offset", 4),
    "two tensors in one place": lambda h: _set(_tensor(h, "linear", "weight"), "offset", 0),
    "huge shape": lambda h: _set(_tensor(h, "linear", "weight"), "shape", [1 << 30, 1 << 30]),
    "shape of many ones": lambda h: _set(_tensor(h, "linear", "weight"), "shape", [1] * 50),
    "negative shape": lambda h: _set(_tensor(h, "linear", "weight"), "shape", [-1, -32]),
    "boolean shape": lambda h: _set(_tensor(h, "linear", "bias"), "shape", [True]),
    "transposed shape": lambda h: _tensor(h, "linear", "weight")["shape"].reverse(),
    "smaller kernel": lambda h: _set(_first(h, "binary_conv")["attrs"], "kernel", 1),
    "kernel of zero": lambda h: _set(_first(h, "pool")["attrs"], "kernel", 0),
    "huge kernel": lambda h: _set(_first(h, "pool")["attrs"], "kernel", 1 << 30),
    "stride of zero": lambda h: _set(_first(h, "conv")["attrs"], "stride", 0),
    "huge padding": lambda h: _set(_first(h, "conv")["attrs"], "padding", (1 << 31) - 1),
    "groups that do not divide": lambda h: _set(_first(h, "binary_conv")["attrs"], "groups", 3),
    "no groups": lambda h: _set(_first(h, "conv")["attrs"], "groups", 0),
    "more experts than weights": lambda h: _set(_first(h, "binary_conv")["attrs"], "experts", 9),
    "unknown activation": lambda h: _set(_first(h, "conv")["attrs"], "act", 7),
    "number too large": lambda h: _set(_first(h, "conv")["attrs"], "act", 1 << 40),
    "fraction": lambda h: _set(_first(h, "conv")["attrs"], "stride", 1.5),
    "missing attribute": lambda h: _first(h, "conv")["attrs"].pop("stride"),
    "extra attribute": lambda h: _set(_first(h, "conv")["attrs"], "colour", 1),
    "missing tensor": lambda h: _first(h, "linear")["tensors"].pop("weight"),
    "experts without gate": lambda h: [
        h["tensors"].pop(_first(h, "binary_conv")["tensors"].pop(slot))
        for slot in ("gate_weight", "gate_bias")
    ],
    "name of no tensor": lambda h: _set(_first(h, "linear")["tensors"], "weight", "x"),
    "tensor of another type": lambda h: _set(
        _first(h, "linear")["tensors"], "weight", _first(h, "binary_conv")["tensors"]["bits"]
    ),
    "unused tensor": lambda h: _first(h, "linear")["tensors"].pop("bias"),
    "unknown operation": lambda h: _set(_first(h, "linear"), "op", "exec"),
    "operation as list": lambda h: _set(_first(h, "linear"), "op", ["linear"]),
    "reads a later value": lambda h: _set(_first(h, "conv"), "inputs", [40]),
    "reads its own value": lambda h: _set(_first(h, "conv"), "inputs", [1]),
    "reads nothing": lambda h: _set(_first(h, "conv"), "inputs", []),
    "adds another shape": lambda h: _set(h["nodes"][-3]["inputs"], 1, 1),
    "no nodes": lambda h: (h["nodes"].clear(), h["tensors"].clear()),
    "another field": lambda h: _set(h, "code", "import os"),
    "escape sequence as name": lambda h: _set(h["nodes"][0], "name", "\x1b[2J"),
    "no metadata": lambda h: h.pop("metadata"),
    "deep metadata": lambda h: _set(h, "metadata", {"a": json.loads("[" * 200 + "]" * 200)}),
    "image of no pixels": lambda h: _set(h, "input_shape", [3, 0, 8]),
    "huge image": lambda h: _set(h, "input_shape", [3, 1 << 30, 1 << 30]),
    "large image": lambda h: _set(h, "input_shape", [3, 1 << 14, 1 << 14]),
    "four dimensions": lambda h: _set(h, "input_shape", [1, 3, 8, 8]),
    "another channel count": lambda h: _set(h, "input_shape", [4, 8, 8]),
}


@pytest.mark.parametrize("lie", LIES)
def test_well_sealed_lies(lie: str, packed_bytes: bytes, tmp_path: Path) -> None:
    header, payload = _split(packed_bytes)
    LIES[lie](header)
    _refused(file_format.seal(json.dumps(header).encode(), payload), tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not json",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"input_shape": NaN}',
        b'{"metadata": 1e999}',
        b"1" * 10_000,
        b'{"metadata": ' + b"9" * 5000 + b"}",
    ],
)
def test_headers_that_are_no_header(text: bytes, tmp_path: Path) -> None:
    _refused(file_format.seal(text, b""), tmp_path)


def test_header_length_past_the_end(tmp_path: Path) -> None:
    import hashlib

    body = (1 << 62).to_bytes(8, "little") + b"{}"
    data = b"EBPACKED" + (1).to_bytes(4, "little") + hashlib.sha256(body).digest() + body
    assert "longer than the file" in _refused(data, tmp_path)


def test_weights_that_are_not_finite(packed_bytes: bytes, tmp_path: Path) -> None:
    header, payload = _split(packed_bytes)
    at = _tensor(header, "linear", "weight")["offset"]
    payload = payload[:at] + b"\x00\x00\xc0\x7f" + payload[at + 4 :]  # NaN
    sealed = file_format.seal(json.dumps(header).encode(), payload)
    assert "NaN" in _refused(sealed, tmp_path)


def test_longer_payload(packed_bytes: bytes, tmp_path: Path) -> None:
    header, payload = _split(packed_bytes)
    sealed = file_format.seal(json.dumps(header).encode(), payload + bytes(64))
    assert "longer than its tensors" in _refused(sealed, tmp_path)


_VALUES: st.SearchStrategy[Any] = st.one_of(
    st.integers(-2, 70),
    st.sampled_from([127, 128, 1 << 14, 1 << 16, 1 << 24, (1 << 31) - 1, 1 << 31, 1 << 63]),
    st.sampled_from([None, "", [], {}, True, 0.5]),
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, child in children:
        found.append((*path, key))
        if isinstance(child, dict | list):
            found += _paths(child, (*path, key))
    return found


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_mutated_headers_are_refused_or_run(
    data: st.DataObject, packed_bytes: bytes, tmp_path: Path
) -> None:
    header, payload = _split(packed_bytes)
    mutated = copy.deepcopy(header)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(_paths(mutated)))
        target = mutated
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = data.draw(_VALUES)
    sealed = file_format.seal(json.dumps(mutated).encode(), payload)
    if agreed(sealed) is not None:
        return
    packed = _load(sealed, tmp_path)
    shape = packed.input_shape
    if shape[0] * shape[1] * shape[2] < 100_000:
        packed(torch.randn(1, *shape))


def _load(data: bytes, folder: Path) -> Any:
    (folder / "net.ebp").write_bytes(data)
    return load(folder / "net.ebp")


def test_small_file_cannot_ask_for_much_memory(tmp_path: Path) -> None:
    # A 64 x 64 kernel over a padded image has 130 x 130 border classes: their table would take
    # 130 * 130 * 20,000 numbers, 1.4 GB, from 10 MB of weights.
    bits = Bits((1, 20_000, 1, 64, 64), np.zeros(20_000 * 64 * 64 // 8, np.uint8))
    attrs = {"kernel": 64, "stride": 1, "padding": 64, "groups": 1, "act": 0, "experts": 1}
    node = Node("binary_conv", "conv", [0], attrs, {"bits": "bits", "scale": "scale"})
    tensors = {"bits": bits, "scale": np.ones(20_000, np.float32)}
    data = file_format.encode(Graph((1, 200, 200), [node], tensors))
    assert "layer 'conv' is too large" in _refused(data, tmp_path)


def test_a_chain_of_small_nodes_is_bounded(tmp_path: Path) -> None:
    # Each keeps four vectors of 65,536 channels, a megabyte: 400 MB from 40 kB.
    nodes = [Node("activation", f"a{i}", [i], {"act": 1}, {}) for i in range(400)]
    data = file_format.encode(Graph((65_536, 1, 1), nodes, {}))
    assert "needs too much memory" in _refused(data, tmp_path)


def test_border_tables_of_many_experts_are_bounded(tmp_path: Path) -> None:
    # 1024 experts, each with 130 * 130 border classes of 16 lanes: 1.1 GB from half a megabyte.
    bits = Bits((1024, 1, 1, 64, 64), np.zeros(1024 * 64 * 64 // 8, np.uint8))
    attrs = {"kernel": 64, "stride": 1, "padding": 64, "groups": 1, "act": 0, "experts": 1024}
    gate = np.zeros((1024, 1), np.float32)
    tensors = {"bits": bits, "scale": np.ones(1, np.float32), "gate_weight": gate}
    node = Node("binary_conv", "conv", [0], attrs, {name: name for name in tensors})
    data = file_format.encode(Graph((1, 200, 200), [node], dict(tensors)))
    assert "layer 'conv' needs too much memory" in _refused(data, tmp_path)
