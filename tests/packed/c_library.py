"""The C interface, ebcore/packed/include/ebcore.h, through ctypes."""

from __future__ import annotations

import ctypes
import functools
import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ebcore.errors import InputError
from ebcore.packed import PackedModel
from ebcore.packed.format import decode
from ebcore.packed.native import library_path

INCLUDE = library_path().parent / "include"
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "load": (ctypes.c_void_p, [ctypes.c_char_p]),
    "load_memory": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t]),
    "free": (None, [ctypes.c_void_p]),
    "run": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_void_p],
    ),
    "input_shape": (None, [ctypes.c_void_p, ctypes.c_void_p]),
    "outputs": (ctypes.c_int64, [ctypes.c_void_p]),
    "metadata": (ctypes.c_char_p, [ctypes.c_void_p]),
    "class": (ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_int64]),
    "mean": (ctypes.POINTER(ctypes.c_float), [ctypes.c_void_p]),
    "std": (ctypes.POINTER(ctypes.c_float), [ctypes.c_void_p]),
    "isa": (ctypes.c_char_p, [ctypes.c_void_p]),
}


class Refused(Exception):
    """A call failed; the text is ebcore_error()'s."""


class CLibrary:
    """The functions of the header in one library, by default the one that Python uses."""

    def __init__(self, path: Path | None = None) -> None:
        self.lib = ctypes.CDLL(str(path or library_path()))
        self.lib.ebcore_error.restype = ctypes.c_char_p
        for name, (result, arguments) in _SIGNATURES.items():
            function = self.function(name)
            function.restype, function.argtypes = result, arguments

    def function(self, name: str) -> Any:
        return getattr(self.lib, f"ebcore_model_{name}")

    def error(self) -> str:
        return self.lib.ebcore_error().decode()

    def load(self, source: Path | bytes) -> CModel:
        """From a path, or from memory at an odd address."""
        if isinstance(source, Path):
            handle = self.function("load")(bytes(source))
        else:
            memory = ctypes.create_string_buffer(b"?" + source)
            handle = self.function("load_memory")(ctypes.addressof(memory) + 1, len(source))
        if not handle:
            raise Refused(self.error())
        return CModel(self, handle)


class CModel:
    """An ebcore_model; freed with this object."""

    def __init__(self, library: CLibrary, handle: int) -> None:
        self.library, self.handle = library, handle

    def __del__(self) -> None:
        self.library.function("free")(self.handle)

    def get(self, name: str, *arguments: object) -> Any:
        return self.library.function(name)(self.handle, *arguments)

    @property
    def input_shape(self) -> tuple[int, ...]:
        shape = (ctypes.c_int32 * 3)()
        self.get("input_shape", shape)
        return tuple(shape)

    @property
    def metadata(self) -> dict[str, Any]:
        return json.loads(self.get("metadata"))

    def __call__(self, x: Tensor, threads: int = 1) -> Tensor:
        x = x.contiguous()
        out = torch.empty(len(x), self.get("outputs"))
        if self.get("run", x.data_ptr(), len(x), threads, out.data_ptr()):
            raise Refused(self.library.error())
        return out


@functools.cache
def _library() -> CLibrary:
    return CLibrary()


def agreed(data: bytes) -> str | None:
    """Why Python and C refuse a file, None where both take it; anything else fails.

    Both give the same reason, but for what is wrong with a header's JSON: C says at which byte.
    """
    python = c = None
    try:
        PackedModel(decode(data, "file"), "file")
    except InputError as error:
        python = error.reason
    try:
        _library().load(data)
    except Refused as error:
        c = str(error).removeprefix("packed network: ")
    if c and python and re.search(r" at byte \d+\)$", c):
        prefix = "has a malformed header ("
        assert c.startswith(prefix) and python.startswith(prefix)
    else:
        assert c == python
    return python
