"""One training process: `python -m ebcore.train.agent ... -m ebcore.train.worker JOB`."""

from __future__ import annotations

import os

from ebcore.processes import leave_with_parent, start_quickly

# First: the imports below take seconds. The agent's id is its own word: it may be gone already.
leave_with_parent(int(os.environ.get("EBCORE_AGENT") or os.getppid()))
start_quickly()

import json  # noqa: E402
import sys  # noqa: E402
from contextlib import suppress  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import NoReturn  # noqa: E402

import torch  # noqa: E402

from ebcore.errors import EXIT_CODE, InputError  # noqa: E402
from ebcore.files import atomic_write  # noqa: E402
from ebcore.train.distributed import PEERS_LOST, join, leave, peers_lost  # noqa: E402
from ebcore.train.finite import PeerFailed  # noqa: E402
from ebcore.train.job import Job, read_job  # noqa: E402
from ebcore.train.loop import Stopped, Trainer  # noqa: E402
from ebcore.train.signals import StopRequest  # noqa: E402


def main() -> None:
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    job = read_job(Path(sys.argv[1]))
    try:
        group = join(job.params.device)
        # Not before: joining waits in native code, where a handler in Python would not run.
        Trainer(job, group, StopRequest()).run()
    except Stopped:
        pass  # the network is missing: that tells the launching process
    except PeerFailed:
        _abort(EXIT_CODE)
    except InputError as error:
        _report(job, error)
        _abort(EXIT_CODE)
    except RuntimeError as error:
        reason = peers_lost(error)
        if reason is None:
            raise
        print(f"worker {_rank()} lost the others: {reason}", file=sys.stderr, flush=True)
        _abort(PEERS_LOST)
    leave()


def _rank() -> int:
    return int(os.environ.get("RANK", 0))


def _report(job: Job, error: InputError) -> None:
    with suppress(InputError, OSError), atomic_write(job.error_file(_rank())) as file:
        json.dump([error.subject, error.reason, error.remedy], file)
    print(f"error: {error}", file=sys.stderr, flush=True)


def _abort(code: int) -> NoReturn:
    """Leaves without goodbye: the others may wait for this process, torchrun ends them."""
    os._exit(code)


if __name__ == "__main__":
    main()
