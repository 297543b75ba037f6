"""The contestants' processes: each prepares cases and times them when asked, a line a request.

    python -m ebcore.measure.peers.worker SETTINGS

imports what is slow to import, forks a process per candidate, and waits for them. SETTINGS is JSON:
threads, cores (to stay on), parent (a process id), candidates: [[peer, variables, fd, fd], ...],
the descriptors to read requests from and to write replies to.

Requests and replies are JSON arrays: ["prepare", case, min_seconds] -> ["ok"] or ["no", reason];
["sample", case] -> ["ok", seconds per call]; ["forget"]; ["limits"] -> ["ok", {kind: MAC/s}].
The first reply, unasked, is ["ok", version] or ["no", reason].
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from ebcore.measure.cases import from_json
from ebcore.measure.peers import PEERS, Packed, Unsupported
from ebcore.measure.timing import Sampler
from ebcore.processes import leave_with_parent

REFILL_CALLS = 2  # untimed, before a sample: other processes had the caches since


class Contestant:
    """Answers the requests to one peer."""

    def __init__(self, name: str, threads: int) -> None:
        self._name, self._peer, self._threads = name, PEERS[name], threads
        self._samplers: dict[str, Sampler] = {}

    def hello(self) -> list[Any]:
        reason = self._peer.unavailable()
        return ["no", reason] if reason else ["ok", self._peer.version()]

    def prepare(self, case: str, min_seconds: float) -> list[Any]:
        call = self._peer.prepare(from_json(case), self._threads)
        self._samplers[case] = Sampler(call, min_seconds)
        return ["ok"]

    def sample(self, case: str) -> list[Any]:
        sampler = self._samplers[case]
        sampler.seconds_of(REFILL_CALLS)
        return ["ok", sampler()]

    def forget(self) -> list[Any]:
        self._samplers.clear()
        return ["ok"]

    def limits(self) -> list[Any]:
        assert isinstance(self._peer, Packed), self._name
        return ["ok", self._peer.limits()]

    def answer(self, what: str, *arguments: Any) -> list[Any]:
        """A request's reply; whatever a library raises, the others go on."""
        try:
            reply: list[Any] = getattr(self, what)(*arguments)
            return reply
        except Unsupported as error:
            return ["no", str(error)]
        except Exception as error:
            text = str(error).strip().splitlines() or [""]
            return ["no", f"{type(error).__name__}: {text[0][:200]}"]


def serve(name: str, variables: Mapping[str, str], threads: int, fds: tuple[int, int]) -> None:
    """Answers until the requests end."""
    os.environ.update(variables)
    contestant = Contestant(name, threads)
    with open(fds[0], encoding="utf-8") as requests, open(fds[1], "w", buffering=1) as replies:
        replies.write(json.dumps(contestant.answer("hello")) + "\n")
        for line in requests:
            replies.write(json.dumps(contestant.answer(*json.loads(line))) + "\n")


def main() -> None:
    settings = json.loads(sys.argv[1])
    leave_with_parent(settings["parent"])
    if settings["cores"]:
        os.sched_setaffinity(0, settings["cores"])
    import torch

    import ebcore.packed  # noqa: F401  (slow to import, so once for all)

    torch.set_grad_enabled(False)
    nursery = os.getpid()
    fds = [(requests, replies) for _, _, requests, replies in settings["candidates"]]
    for (name, variables, *_), mine in zip(settings["candidates"], fds, strict=True):
        if os.fork():
            continue
        code = 1
        try:
            leave_with_parent(nursery)
            for fd in (fd for pair in fds if pair != mine for fd in pair):
                os.close(fd)
            serve(name, variables, settings["threads"], mine)
            code = 0
        finally:
            os._exit(code)
    for fd in (fd for pair in fds for fd in pair):
        os.close(fd)
    for _ in fds:
        os.wait()


if __name__ == "__main__":
    main()
