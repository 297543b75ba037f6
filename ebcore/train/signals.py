"""Stops from outside: noticed between steps, and never lost."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self

_STOPS = signal.SIGTERM, signal.SIGINT


class StopRequest:
    """True once SIGTERM or SIGINT arrived."""

    def __init__(self) -> None:
        self.received = False
        for number in _STOPS:
            signal.signal(number, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = True

    def __bool__(self) -> bool:
        return self.received


class Stops:
    """Keeps the SIGTERM and SIGINT that arrive in the block, for handlers that raise.

    Python drops what is raised in a weak reference's callback or in `__del__`, with a line on
    stderr; SQLAlchemy has such callbacks. A stop that met one would be forgotten.
    """

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before: int | None = None
        if threading.current_thread() is threading.main_thread():  # where signals are handled
            self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self

    def raise_again(self) -> None:
        """If one has arrived and the block goes on all the same, has its handler called again."""
        with suppress(BlockingIOError):
            for number in os.read(self._read, 4096):
                handler = signal.getsignal(number) if number in _STOPS else None
                if callable(handler):
                    handler(number, None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.set_wakeup_fd(self._before)
        os.close(self._read)
        os.close(self._write)
