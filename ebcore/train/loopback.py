"""On a single host torchrun's processes meet on loopback.

torch's store listens on every interface, and torchrun unpickles what others put there.
"""

from __future__ import annotations

import importlib
import socket
from typing import Any

from torch.distributed import TCPStore

LOOPBACK = "127.0.0.1"
_OPENERS = (  # modules that open stores; some share their name with a function of their package
    "torch.distributed",
    "torch.distributed.rendezvous",
    "torch.distributed.elastic.rendezvous.c10d_rendezvous_backend",
)


def stay_on_loopback() -> None:
    """From now on the stores that this process opens are reached from this host only."""
    for name in _OPENERS:
        vars(importlib.import_module(name))["TCPStore"] = _store


def _store(host_name: str, port: int, *, is_master: bool = False, **options: Any) -> TCPStore:
    if is_master:
        listening = socket.create_server((LOOPBACK, port))
        port = listening.getsockname()[1]
        options["master_listen_fd"] = listening.detach()  # the store's from now on
    return TCPStore(host_name, port, is_master=is_master, **options)
