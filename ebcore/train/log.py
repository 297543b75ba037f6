"""The run's log: one JSON object a line."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ebcore.files import atomic_write

_NAME = "log.jsonl"


class RunLog:
    """Appends records; opened for a resumed run, it forgets what will be done again."""

    def __init__(self, folder: Path, step: int, epoch: int) -> None:
        # An epoch's own record comes after the state of its last step.
        kept = [r for r in read_log(folder) if step and (r["step"], r["epoch"]) <= (step, epoch)]
        with atomic_write(folder / _NAME) as file:
            file.writelines(json.dumps(record) + "\n" for record in kept)
        self._file = open(folder / _NAME, "a", encoding="utf-8")  # noqa: SIM115

    def write(self, event: str, step: int, epoch: int, **values: Any) -> None:
        """Adds a record and hands it to the system at once."""
        record = {"event": event, "step": step, "epoch": epoch, "time": time.time(), **values}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class LogTail:
    """Reads records as a run writes them; what an earlier run left behind is passed over."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        self._inode = self._old = self._current_inode()  # a later log may get that number again
        self._position = 0

    def new(self) -> list[dict[str, Any]]:
        """Records since the last call."""
        inode = self._current_inode()
        if inode is None or inode == self._old:
            return []
        if inode != self._inode:
            self._inode, self._position, self._old = inode, 0, None
        with open(self._path, "rb") as file:
            file.seek(self._position)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._position += len(whole)
        return [json.loads(line) for line in whole.splitlines()]

    def _current_inode(self) -> int | None:
        try:
            return self._path.stat().st_ino
        except FileNotFoundError:
            return None


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All whole records; a last line cut short by a kill is left out."""
    try:
        text = (folder / _NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
