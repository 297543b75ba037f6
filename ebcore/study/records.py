"""Records of trainings that follow each other, as those of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Record = Callable[[dict[str, Any]], None]


class InTurn:
    """Passes records on; the steps and epochs of a later training follow those of the earlier."""

    def __init__(self, on_record: Record) -> None:
        self._on_record = on_record
        self._last = {"step": 0, "epoch": 0}

    def next_training(self) -> Record:
        """Takes the records of the next training."""
        before = dict(self._last)

        def passed_on(record: dict[str, Any]) -> None:
            moved = {**record, **{key: record[key] + count for key, count in before.items()}}
            if "steps" in record:
                moved["steps"] = record["steps"] + before["step"]
            self._last.update({key: moved[key] for key in before})
            self._on_record(moved)

        return passed_on
