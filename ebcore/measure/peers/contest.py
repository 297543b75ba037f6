"""Runs candidates side by side: each in a process of its own, pinned, asked in turn."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ebcore
from ebcore.measure.cases import Case, to_json
from ebcore.measure.peers import NO_AMX, PACKED, environment
from ebcore.measure.peers.peer import Unsupported
from ebcore.measure.timing import Timing, in_turn, last_cores

# With several threads: idle ones of the process before may still spin.
_PAUSE_SECONDS = 0.003
Entry = tuple[str, Case]


@dataclass(frozen=True)
class Measured:
    """One interleaved run.

    Attributes:
        times: of each entry that ran.
        reasons: why the others did not.
        limits: MAC/s that one core reaches in registers, by kind; the best of the run.
    """

    times: dict[Entry, Timing]
    reasons: dict[Entry, str]
    limits: dict[str, float]


class Contest:
    """The processes of some candidates; use it as a context.

    Args:
        names: candidates, see `ebcore.measure.peers.candidates`; the packed one is always there.
        threads: of each; all share the same cores.

    Attributes:
        versions: by candidate, of those that run.
        absent: by candidate, why it does not.
        cores: pinned to these, [] where the system cannot pin.
    """

    def __init__(self, names: Iterable[str], threads: int) -> None:
        self.threads, self.cores = threads, last_cores(threads)
        self._names = list(dict.fromkeys((PACKED, *names)))
        self._contestants: dict[str, _Contestant] = {}
        self.versions: dict[str, str] = {}
        self.absent: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._contestants = {name: _Contestant(name) for name in self._names}
        theirs = [contestant.theirs for contestant in self._contestants.values()]
        fds = [fd for *_, requests, replies in theirs for fd in (requests, replies)]
        settings = {
            "threads": self.threads,
            "cores": self.cores,
            "parent": os.getpid(),
            "candidates": theirs,
        }
        source = str(Path(ebcore.__file__).parents[1])
        paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
        variables = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),  # this ebcore, from any folder
            "OMP_NUM_THREADS": str(self.threads),
        }
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "ebcore.measure.peers.worker", json.dumps(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=variables,
            pass_fds=fds,
        )
        for fd in fds:
            os.close(fd)
        for name, contestant in self._contestants.items():
            try:
                (self.versions[name],) = contestant.reply()
            except Unsupported as error:
                self.absent[name] = str(error)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for contestant in self._contestants.values():
            contestant.end()
        self._nursery.kill()  # takes its children along; they hold nothing worth keeping
        self._nursery.wait()

    def run(self, entries: Sequence[Entry], *, repeats: int, min_seconds: float) -> Measured:
        """Times entries of (candidate, case), interleaved, the machine's limits among them."""
        reasons: dict[Entry, str] = {}
        samplers: dict[Entry | None, Any] = {}
        limits: dict[str, float] = {}

        def take_limits() -> float:
            with contextlib.suppress(Unsupported):  # its process has ended, and its rows say so
                (found,) = self._contestants[PACKED].ask("limits")
                for kind, rate in found.items():
                    limits[kind] = max(rate, limits.get(kind, 0))
            return 0.0

        def take_sample(name: str, case: Case) -> float:
            if self.threads > 1:
                time.sleep(_PAUSE_SECONDS)
            try:
                (seconds,) = self._contestants[name].ask("sample", to_json(case))
            except Unsupported as error:
                reasons[name, case] = str(error)
                return math.nan
            return float(seconds)

        for name, case in entries:
            try:
                if name in self.absent:
                    raise Unsupported(self.absent[name])
                self._contestants[name].ask("prepare", to_json(case), min_seconds)
            except Unsupported as error:
                reasons[name, case] = str(error)
            else:
                samplers[name, case] = partial(take_sample, name, case)
        samplers[None] = take_limits
        timings = in_turn(samplers, repeats)
        for contestant in self._contestants.values():
            contestant.forget()
        times = {entry: timings[entry] for entry in entries if entry not in reasons}
        return Measured(times, reasons, limits)


class _Contestant:
    """The other ends of one process's pipes."""

    def __init__(self, candidate: str) -> None:
        self._prepared = False
        theirs_in, mine_out = os.pipe()
        mine_in, theirs_out = os.pipe()
        self._requests = open(mine_out, "w", buffering=1, encoding="utf-8")  # noqa: SIM115
        self._replies = open(mine_in, encoding="utf-8")  # noqa: SIM115
        name = candidate.removesuffix(NO_AMX)
        self.theirs = name, environment(candidate), theirs_in, theirs_out

    def ask(self, *request: Any) -> list[Any]:
        self._prepared |= request[0] == "prepare"
        with contextlib.suppress(BrokenPipeError):  # `reply` says what happened
            self._requests.write(json.dumps(request) + "\n")
        return self.reply()

    def reply(self) -> list[Any]:
        line = self._replies.readline()
        if not line:
            raise Unsupported("its process ended")
        status, *rest = json.loads(line)
        if status == "no":
            raise Unsupported(rest[0])
        return list(rest)

    def forget(self) -> None:
        if self._prepared:
            with contextlib.suppress(Unsupported):
                self.ask("forget")
            self._prepared = False

    def end(self) -> None:
        for stream in (self._requests, self._replies):
            with contextlib.suppress(BrokenPipeError):
                stream.close()
