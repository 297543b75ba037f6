"""What this process may use, how it starts, and how it ends with the one that started it."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# torch keeps large tensors on huge pages (Linux): a 500th of the page faults. Before its import.
HUGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}

_PR_SET_PDEATHSIG = 1  # Linux, prctl(2)
_LIBC = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
_OBJECTS = 10_000  # made between two searches for garbage; Python's own number is below 3,000


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def start_quickly() -> None:
    """Call it before large imports: they and the process's end take a third less CPU time.

    Python searches for garbage among what was imported, time and again and once more at the end,
    when all of it is some. What modules hold open at the end gets no `__del__` then.
    """
    gc.set_threshold(_OBJECTS)
    atexit.register(gc.freeze)  # after all that is registered later


def leave_with_parent(parent: int | None = None) -> None:
    """Asks for SIGTERM when the parent process dies (Linux; elsewhere it does nothing).

    A process group is not enough: torchrun puts each worker into a session of its own.

    Args:
        parent: the parent's id, where this process may be in a session of its own.
    """
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    now = os.getppid()  # another process if the parent died before the line above
    orphan = now != parent if parent else os.getsid(now) != os.getsid(0)
    if orphan:
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def leaving() -> Iterator[None]:
    """Around the bounded wait of a process told to leave: being told again changes nothing.

    A group's signal comes twice: to the process itself, and when its parent dies of it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = signal.SIGTERM, signal.SIGINT
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
