"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, Any

from ebcore.errors import InputError

# What an operating system answers when a place takes no data.
REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EISDIR}
_SUFFIX = ".part"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it to `path` when the block succeeds.

    The data reach the disk before the rename, so a crash leaves the old file or the new one, and
    perhaps the temporary, which the next write of `path` removes.

    Raises:
        InputError: the disk refuses the data (full, read-only); the old file stays as it was.
    """
    path = Path(path)
    with refusals_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        drop_abandoned(path.parent, escape(path.name))
        handle, temporary = _make_temporary(path)
        try:
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
            _sync_directory(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(handle)


def drop_abandoned(folder: Path, pattern: str) -> None:
    """Removes the temporaries of files named like `pattern` whose writers have died."""
    for temporary in folder.glob(f".{pattern}.*{_SUFFIX}"):
        with suppress(OSError), open(temporary, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the writer lives
            temporary.unlink()


def _make_temporary(path: Path) -> tuple[int, Path]:
    """A new file beside `path`, locked until its handle is closed or this process dies."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_SUFFIX, dir=path.parent)
        with suppress(OSError):  # a file system without locks: nothing is taken for abandoned
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.exists(name):
            return handle, Path(name)
        os.close(handle)  # another process took it for abandoned before it was locked


@contextmanager
def refusals_named(path: Path) -> Iterator[None]:
    """Turns a refusal of the disk inside the block into an `InputError` about `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        raise InputError(
            path,
            f"cannot be written ({error.strerror or error})",
            "Free space or choose another place.",
        ) from error


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Opens `path` for writing so that it appears whole or not at all (see `atomic_path`)."""
    encoding = None if "b" in mode else "utf-8"
    with atomic_path(path) as temporary, open(temporary, mode, encoding=encoding) as file:
        yield file


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _sync_directory(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
