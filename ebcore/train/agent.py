"""torchrun, with a line for each restart and the reason when it gives up."""

# ruff: noqa: E402
from __future__ import annotations

from ebcore.processes import start_quickly

start_quickly()  # before torch

import json
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch.distributed import DistError
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous.api import RendezvousError, RendezvousTimeoutError
from torch.distributed.launcher import api
from torch.distributed.run import parse_args, run

from ebcore.errors import EXIT_CODE, InputError
from ebcore.files import atomic_write
from ebcore.train.distributed import PEERS_LOST
from ebcore.train.hosts import RESTARTS, hosts, wait_seconds
from ebcore.train.loopback import LOOPBACK, stay_on_loopback
from ebcore.train.state import newest_state
from ebcore.train.torchrun import JOINED

_STOPS = (-signal.SIGTERM, -signal.SIGINT)
_AT_ONCE = 2  # s
_LEAVE_SECONDS = 10  # for the other workers when one has died; without it they save no checkpoint


class Agent(LocalElasticAgent):
    """Starts the workers again from their newest state when one of them dies.

    Not when one ends by an `InputError` or by a signal to stop: another start would not help.
    """

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        started: dict[int, Any] = super()._start_workers(worker_group)
        group = self._pcontext
        assert group is not None
        close = group.close

        def close_soon(
            death_sig: signal.Signals | None = None, timeout: int = _LEAVE_SECONDS
        ) -> None:
            close(death_sig, timeout)

        # Called without arguments where one has died; where a stop was asked for, with 30 s.
        group.close = close_soon  # type: ignore[method-assign]
        return started

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result = super()._monitor_workers(worker_group)
        if result.is_failed():
            self._judge(result.failures)
        return result

    def _judge(self, failures: dict[int, ProcessFailure]) -> None:
        most = self._worker_group.spec.max_restarts
        number = most - self._remaining_restarts + 1
        first = next(iter(failures.values()))
        if first.exitcode in _STOPS or EXIT_CODE in {each.exitcode for each in failures.values()}:
            self._remaining_restarts = 0
        elif self._remaining_restarts:
            step, _ = newest_state(_folder(self._worker_group.spec.args))
            place = f"step {step}" if step else "the start"
            print(f"{_what_died(failures)}; restart {number} of {most} from {place}", flush=True)
        else:
            after = f" after {most} restarts" if most else ""
            raise _GivenUp(f"{_what_died(failures)}{after}")


class _GivenUp(Exception):
    """The workers died too often."""


def _what_died(failures: dict[int, ProcessFailure]) -> str:
    """The failure that the others follow from, for example "worker 2 died (SIGKILL)".

    The dictionary begins with it and with what failed meanwhile; then come those that torchrun
    itself has ended, by SIGTERM or `_LEAVE_SECONDS` later by SIGKILL.
    """
    first = next(iter(failures.values()))
    for rank, failure in failures.items():
        code, late = failure.exitcode, failure.timestamp - first.timestamp > _AT_ONCE
        if code not in (PEERS_LOST, *_STOPS) and not late:
            how = signal.Signals(-code).name if code < 0 else f"exit {code}"
            return f"worker {rank} died ({how})"
    return f"worker {next(iter(failures))} lost the others"


def _folder(worker_arguments: tuple[str, ...]) -> Path:
    return Path(worker_arguments[-1]).parent


def main(arguments: list[str]) -> int:
    """Takes torchrun's arguments; returns the exit code."""
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # says it at length
    api.LocalElasticAgent = Agent  # type: ignore[misc]
    os.environ["EBCORE_AGENT"] = str(os.getpid())  # for the workers
    options = parse_args(arguments)
    if options.standalone:
        stay_on_loopback()
        options.local_addr = LOOPBACK
    try:
        run(options)
        return 0
    except ChildFailedError as error:
        bad_input = any(failure.exitcode == EXIT_CODE for failure in error.failures.values())
        return 1 if bad_input else 0  # else a signal to stop
    except SignalException as stopped:
        return 128 + stopped.sigval
    except _GivenUp as error:
        reason, remedy = str(error), f"{RESTARTS}=N allows more restarts."
    except RendezvousTimeoutError:
        reason = f"fewer than {hosts()} hosts came within {wait_seconds()} s"
        remedy = "On each of the others: python -m ebcore.train.join STAGE [EXPERTS]."
    except (RendezvousError, DistError) as error:
        reason = f"another host has left or cannot be reached ({type(error).__name__})"
        remedy = "Its output says why."
    folder = _folder(tuple(arguments))
    remedy += f" Started again, the stage goes on from its last checkpoint in {folder}."
    _report(folder, InputError("workers", reason, remedy), keep=JOINED not in options.rdzv_conf)
    return 1


def _report(folder: Path, error: InputError, *, keep: bool) -> None:
    """For whoever watches, and for the process that runs the pipeline."""
    if keep:
        with suppress(InputError, OSError), atomic_write(folder / "error-agent.json") as file:
            json.dump([error.subject, error.reason, error.remedy], file)
    print(f"error: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
