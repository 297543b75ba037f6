"""Ending in order: a stop is noticed between steps, and no process outlives its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from types import FrameType

_PR_SET_PDEATHSIG = 1


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


def end_with_parent() -> None:
    """Asks for SIGTERM when the parent dies (Linux; elsewhere it does nothing).

    torchrun gives each worker its own session, so a killed process group would miss them.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the request stood
        os.kill(os.getpid(), signal.SIGTERM)
