"""torchrun, without its traceback over the reason that a worker gave."""

from __future__ import annotations

import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run

from ebcore.train.loopback import LOOPBACK, stay_on_loopback


def main(arguments: list[str]) -> int:
    """Takes torchrun's arguments; returns the exit code."""
    options = parse_args(arguments)
    if options.standalone:
        stay_on_loopback()
        options.local_addr = LOOPBACK
    try:
        run(options)
    except ChildFailedError:
        return 1
    except SignalException as stopped:
        return 128 + stopped.sigval
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
