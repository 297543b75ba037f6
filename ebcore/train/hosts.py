"""Which hosts share a stage's workers, and how long they bear with each other.

Nothing here decides a result, so it is in the environment and not in params.yaml.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import dataclass

import psutil

from ebcore.errors import InputError

HOSTS = "EBCORE_HOSTS"  # how many
RENDEZVOUS = "EBCORE_RENDEZVOUS"  # HOST:PORT of the first, the one that runs the pipeline
RESTARTS = "EBCORE_RESTARTS"  # of the workers, in one run of a stage, when one of them dies
WAIT = "EBCORE_WAIT"  # s, for a host or a worker that does not answer


@dataclass(frozen=True)
class Place:
    """This host among several.

    Attributes:
        address: its own, on the way to the first host.
        interface: the one that has this address; None if there is no such.
        is_first: whether the rendezvous is here.
    """

    address: str
    interface: str | None
    is_first: bool


def hosts() -> int:
    return _count(HOSTS, 1, least=1)


def restarts() -> int:
    return _count(RESTARTS, 3, least=0)


def wait_seconds() -> int:
    return _count(WAIT, 600, least=1)


def place(endpoint: str | None) -> Place:
    """Where this host is, seen from the rendezvous HOST:PORT.

    Raises:
        InputError: it is not set, not to be resolved or not to be reached, or its name means a
            loopback address here.
    """
    host, _, port = (endpoint or "").rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(
            f"{RENDEZVOUS}={endpoint or ''}",
            "is no HOST:PORT",
            "Name the host that runs the pipeline, e.g. node0:29400.",
        )
    host = host.strip("[]")  # of an IPv6 address
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(target)  # UDP: asks the routing table, sends nothing
            own = str(probe.getsockname()[0])
    except (OSError, OverflowError) as error:
        raise InputError(
            f"{RENDEZVOUS}={endpoint}", f"leads nowhere ({error})", "Check the name and the port."
        ) from error
    if host not in (own, "localhost") and ipaddress.ip_address(own).is_loopback:
        raise InputError(
            f"{RENDEZVOUS}={endpoint}",
            f"{host} is {own} here, which other hosts cannot reach",
            "Give its address in the network, or mend /etc/hosts.",
        )
    return Place(own, _interface(own), own == target[0])


def _interface(address: str) -> str | None:
    for name, found in psutil.net_if_addrs().items():
        if any(entry.address == address for entry in found):
            return name
    return None


def _count(name: str, default: int, *, least: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) < least:
        raise InputError(f"{name}={text}", "is no such number", f"Use {least} or more.")
    return int(text)
