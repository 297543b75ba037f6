"""The run's log: one JSON object a line."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ebcore.files import atomic_write, refusals_named

_NAME = "log.jsonl"
_ALWAYS = {"event", "step", "epoch", "time"}


class RunLog:
    """Appends records; opened for a resumed run, it forgets what will be done again."""

    def __init__(self, folder: Path, step: int, epoch: int) -> None:
        # An epoch's own record comes after the state of its last step.
        kept = [r for r in read_log(folder) if step and (r["step"], r["epoch"]) <= (step, epoch)]
        self._path = folder / _NAME
        with atomic_write(self._path) as file:
            file.writelines(json.dumps(record) + "\n" for record in kept)
        self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115

    def write(self, event: str, step: int, epoch: int, **values: Any) -> None:
        """Adds a record and hands it to the system at once.

        Raises:
            InputError: the disk refuses it (full, read-only).
        """
        record = {"event": event, "step": step, "epoch": epoch, "time": time.time(), **values}
        with refusals_named(self._path):
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()


class LogTail:
    """Reads records as a run writes them; what an earlier run left behind is passed over."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        # of an earlier run's log; a later one may get that number again
        self._inode = self._old = self._path.stat().st_ino if self._path.exists() else None
        self._position = 0

    def new(self) -> list[dict[str, Any]]:
        """Records since the last call."""
        try:
            file = open(self._path, "rb")  # noqa: SIM115
        except FileNotFoundError:
            return []
        with file:
            inode = _inode(file)
            if inode == self._old:
                return []
            if inode != self._inode:
                self._inode, self._position, self._old = inode, 0, None
            file.seek(self._position)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._position += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


def _inode(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_ino


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All whole records; a last line cut short by a kill, or one that is damaged, is left out."""
    try:
        content = (folder / _NAME).read_bytes()
    except FileNotFoundError:
        return []
    records = []
    for line in content[: content.rfind(b"\n") + 1].split(b"\n"):
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and record.keys() >= _ALWAYS:
                records.append(record)
    return records
