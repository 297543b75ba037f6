"""The one door to FFCV, which needs system headers to build and changes torch's threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from ebcore.errors import InputError


@cache
def import_ffcv() -> Any:
    """The module `ffcv`, made to leave torch's thread count alone.

    Raises:
        InputError: FFCV is not installed or cannot load its libraries.
    """
    threads = torch.get_num_threads()
    try:
        import numba
        import numba.typed

        with _plain_tables(numba.typed):
            import ffcv
            import ffcv.fields.rgb_image
            import ffcv.loader.epoch_iterator
            import ffcv.memory_allocator
            import ffcv.writer
            from ffcv.pipeline.compiler import Compiler
    except (ImportError, OSError) as error:
        raise InputError(
            "data.loader: ffcv",
            f"FFCV cannot be imported ({error})",
            "Install its system headers and run `make setup`, or set data.loader: folder.",
        ) from error
    finally:
        torch.set_num_threads(threads)  # importing sets 1

    def set_num_threads(cls: Any, count: int) -> None:
        cls.num_threads = max(1, min(count, numba.config.NUMBA_NUM_THREADS))
        numba.set_num_threads(cls.num_threads)

    # FFCV's own also sets torch's threads, at every epoch and from its background thread.
    Compiler.set_num_threads = classmethod(set_num_threads)
    return ffcv


@contextmanager
def _plain_tables(typed: Any) -> Iterator[None]:
    """FFCV keeps the codes of its two image modes, which only Python reads, in numba's `Dict`.

    Compiling that takes longer than the rest of the import.
    """
    kept, typed.Dict = typed.Dict, dict
    try:
        yield
    finally:
        typed.Dict = kept


@contextmanager
def interpreted() -> Iterator[None]:
    """A loader made in the block decodes in Python: compiling takes a second or two."""
    from ffcv.pipeline.compiler import Compiler

    kept = Compiler.is_enabled
    Compiler.set_enabled(False)
    try:
        yield
    finally:
        Compiler.set_enabled(kept)
