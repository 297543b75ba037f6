"""Warnings about a training that goes on, said once and not at every epoch."""

from __future__ import annotations

from collections.abc import Callable


class Warner:
    """Says a warning when it is new; one that has passed is new when it comes again.

    Args:
        say: takes the line, which begins with "warning: ".
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._current: dict[str, str] = {}

    def check(self, kind: str, text: str) -> None:
        """`text` is what there is to warn of now, "" for nothing."""
        if text and text != self._current.get(kind):
            self._say(f"warning: {text}")
        self._current[kind] = text
