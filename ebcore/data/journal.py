"""What a long pass has done, noted so that a killed process can go on."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Journal:
    """A file of JSON lines that belong to one work; each is on the disk before `add` returns.

    A line that a kill cut short, and what follows it, counts as not written. A journal of other
    work is thrown away.
    """

    def __init__(self, path: Path, work: str) -> None:
        """`work` identifies what is being done: everything that decides the lines."""
        self._path = path
        lines, end = _whole_lines(path)
        if lines and lines[0] == {"work": work}:
            self.lines: list[Any] = lines[1:]
            os.truncate(path, end)  # what a kill cut short
        else:
            self.lines = []
            path.write_text(json.dumps({"work": work}) + "\n", encoding="utf-8")
        self._work = work
        self._file = open(path, "ab")  # noqa: SIM115

    def clear(self) -> None:
        """Forgets all lines."""
        self.lines = []
        self._file.truncate(0)
        self.add({"work": self._work})

    def add(self, line: Any) -> None:
        """Appends a line."""
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def digest(*parts: object) -> str:
    """Hex hash of values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _whole_lines(path: Path) -> tuple[list[Any], int]:
    """The lines up to the first damaged one, and where they end in bytes."""
    lines, end = [], 0
    if path.is_file():
        with open(path, "rb") as file:
            for text in file:
                if not text.endswith(b"\n"):
                    break
                try:
                    lines.append(json.loads(text))
                except ValueError:
                    break
                end += len(text)
    return lines, end
