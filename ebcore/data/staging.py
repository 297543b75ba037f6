"""Folders that are either whole or absent."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebcore.errors import InputError
from ebcore.files import REFUSALS


@contextmanager
def replaced_folder(path: str | Path) -> Iterator[Path]:
    """Yields an empty folder beside `path` that takes its place when the block succeeds.

    Raises:
        InputError: the disk refuses the data (full, read-only); the old folder stays.
    """
    path = Path(path)
    # A fixed name, so that what a killed process left is found and removed by the next.
    partial = path.parent / f".{path.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if path.exists():
            shutil.rmtree(path)
        os.replace(partial, path)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        raise InputError(
            path,
            f"cannot be written ({error.strerror or error})",
            "Free space or choose another folder.",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
