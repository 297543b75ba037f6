"""A further host of a training stage: `python -m ebcore.train.join STAGE [EXPERTS]`.

The first host runs the pipeline; the others run this in the same shared checkout, with the same
EBCORE_HOSTS and EBCORE_RENDEZVOUS. It ends when the stage does.
"""

from __future__ import annotations

import os
import sys

from ebcore.errors import InputError, exit_on_input_error
from ebcore.params import TRAINING_STAGES, load_params
from ebcore.train.job import make_job, write_job
from ebcore.train.torchrun import torchrun
from ebcore.workspace import SHARED_STAGES


def main(arguments: list[str]) -> None:
    """Replaces this process by torchrun."""
    if not arguments or arguments[0] not in TRAINING_STAGES:
        raise InputError(
            f"ebcore.train.join {' '.join(arguments)}",
            "names no training stage",
            f"Use: python -m ebcore.train.join {'|'.join(TRAINING_STAGES)} [EXPERTS]",
        )
    shared = arguments[0] in SHARED_STAGES
    if len(arguments) != (1 if shared else 2) or not "".join(arguments[1:2] or "1").isdecimal():
        raise InputError(
            f"ebcore.train.join {' '.join(arguments)}",
            "names no expert count" if not shared else "takes no expert count",
            f"Use: python -m ebcore.train.join {arguments[0]}{'' if shared else ' EXPERTS'}",
        )
    experts = 1 if shared else int(arguments[1])
    job = make_job(arguments[0], experts, load_params())
    command, environment = torchrun(job, write_job(job), first=False)
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    with exit_on_input_error():
        main(sys.argv[1:])
