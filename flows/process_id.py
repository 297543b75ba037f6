"""A process named so that others can tell whether it still runs: host, id, start."""

from __future__ import annotations

import os
import socket

import psutil

_SECONDS = 5.0  # a start time may seem to move that much, as the clock is set


def this_process() -> str:
    """For example `node0:4711:1764000000`; a later process with the same id differs in the last."""
    return process_id(os.getpid())


def process_id(pid: int) -> str:
    """The same of a process of this host.

    Raises:
        psutil.NoSuchProcess: it is gone.
    """
    return f"{socket.gethostname()}:{pid}:{psutil.Process(pid).create_time():.0f}"


def is_gone(name: str) -> bool:
    """Whether that process has ended; False where this host cannot know."""
    try:
        host, pid, started = name.rsplit(":", 2)
        number, start = int(pid), float(started)
    except ValueError:
        return False
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(number)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return abs(process.create_time() - start) > _SECONDS
    except psutil.NoSuchProcess:
        return True
