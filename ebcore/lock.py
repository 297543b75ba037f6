"""Work that one process does at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path

from ebcore.errors import InputError
from ebcore.files import refusals_named


@contextmanager
def only_one(path: Path, subject: str | Path, doing: str) -> Iterator[RawIOBase]:
    """Holds the lock file `path`, with this process's id in it, for the block; then removes it.

    Yields the file: a child process that inherits it holds the lock as long as it lives.

    Args:
        subject, doing: for the error, as in "{subject}: {doing} in process 123".

    Raises:
        InputError: another process holds it, or the disk takes no file.
    """
    while True:
        with refusals_named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "a+b", buffering=0)  # noqa: SIM115
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                holder = file.read().decode() or "unknown"
                raise InputError(
                    subject,
                    f"{doing} in process {holder}",
                    "Wait for it, or stop that process and start again.",
                ) from error
            if not _is_at(path, file):
                continue  # its holder has removed it since it was opened
            try:
                with refusals_named(path):
                    file.truncate(0)
                    file.write(str(os.getpid()).encode())
                yield file
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(path: Path, file: RawIOBase) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
