"""A stop that is noticed between steps."""

from __future__ import annotations

import signal
from types import FrameType


class StopRequest:
    """True once SIGTERM or SIGINT arrived."""

    def __init__(self) -> None:
        self.received = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = True

    def __bool__(self) -> bool:
        return self.received
