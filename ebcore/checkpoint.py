"""Checkpoints: safetensors with JSON metadata and a SHA-256 over all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ebcore.errors import InputError
from ebcore.files import atomic_write

FORMAT = "ebcore-checkpoint-1"
_KEY = "ebcore"
_REMEDY = "Run `dvc checkout`, or `dvc repro` to make it again."


def save_checkpoint(path: str | Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> str:
    """Writes tensors and JSON-able `meta` so that the file is whole or absent.

    Returns:
        The digest that `load_checkpoint` checks: equal content has an equal digest.

    Raises:
        InputError: the disk refuses the data; an older file at `path` stays.
    """
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    text = json.dumps(meta, sort_keys=True)
    digest = _digest(plain, text)
    header = {"format": FORMAT, "meta": meta, "sha256": digest}
    # One entry: safetensors writes several in random order. Not its save_file: that makes a
    # temporary of its own, which nothing removes after a crash.
    content = save(plain, metadata={_KEY: json.dumps(header, sort_keys=True)})
    with atomic_write(path, "wb") as file:
        file.write(content)
    return digest


def load_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads what `save_checkpoint` wrote: ({name: tensor on the CPU}, meta).

    Raises:
        InputError: no such file, truncated, altered, or not one of this project's checkpoints.
    """
    with _opened(path) as (file, header):
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if _digest(tensors, json.dumps(header["meta"], sort_keys=True)) != header["sha256"]:
        raise InputError(path, "was altered: its SHA-256 differs", _REMEDY)
    return tensors, header["meta"]


def checkpoint_digest(path: str | Path) -> str:
    """The digest a checkpoint states for itself, without reading its tensors.

    Raises:
        InputError: no such file, or none of this project's checkpoints.
    """
    with _opened(path) as (_, header):
        return str(header["sha256"])


def weights_sha256(path: str | Path) -> str:
    """The digest of a checkpoint's tensors alone: equal training, equal digest, whatever the code.

    Raises:
        InputError: as `load_checkpoint`.
    """
    return _digest(load_checkpoint(path)[0], "")


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The open file and its header; its errors are the user's."""
    if not Path(path).is_file():
        raise InputError(path, "does not exist", "Run the stage that makes it: `dvc repro`.")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "null"))
            if not isinstance(header, dict) or header.keys() != {"format", "meta", "sha256"}:
                raise InputError(path, "is none of this project's checkpoints", _REMEDY)
            if header["format"] != FORMAT:
                raise InputError(
                    path, f"has format {header['format']!r}, this is {FORMAT!r}", "Make it again."
                )
            yield file, header
    except (SafetensorError, OSError, RuntimeError, json.JSONDecodeError) as error:
        raise InputError(path, f"is truncated or no checkpoint ({error})", _REMEDY) from error


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if tensor.numel():
            total.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
