"""Folders that are either whole or absent."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebcore.files import refusals_named
from ebcore.lock import only_one


def partial_folder(path: str | Path) -> Path:
    """Where `replaced_folder` keeps what becomes `path`; a fixed name, for the next process."""
    path = Path(path)
    return path.parent / f".{path.name}.partial"


@contextmanager
def replaced_folder(path: str | Path, *, resume: bool = False) -> Iterator[Path]:
    """Yields a folder beside `path` that takes its place when the block succeeds.

    Args:
        resume: it holds what a killed process left, and stays if the block fails; else it is
            empty, and removed.

    Raises:
        InputError: the disk refuses the data (full, read-only), or another process writes the
            folder; the old one stays.
    """
    path = Path(path)
    lock = path.parent / f".{path.name}.lock"
    with (
        only_one(lock, path, "is written already"),
        refusals_named(path),
        _replaced(path, resume) as partial,
    ):
        yield partial


@contextmanager
def _replaced(path: Path, resume: bool) -> Iterator[Path]:
    partial, old = partial_folder(path), path.parent / f".{path.name}.old"
    if old.exists() and not path.exists():  # a process died between the two renames
        os.replace(old, path)
    shutil.rmtree(old, ignore_errors=True)
    if not resume:
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(exist_ok=resume)
    try:
        yield partial
        if path.exists():  # out of the way at once: deleting it takes a while
            os.replace(path, old)
        try:
            os.replace(partial, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
        if not resume:
            shutil.rmtree(partial, ignore_errors=True)
