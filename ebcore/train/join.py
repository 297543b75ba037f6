"""A further host of a training stage: `python -m ebcore.train.join STAGE [ITEM]`.

The first host runs the pipeline; the others run this in the same shared checkout, with the same
EBCORE_HOSTS and EBCORE_RENDEZVOUS. The item is what follows `@` in the stage's name: an expert
count, a seed. It ends when the stage does.
"""

from __future__ import annotations

import os
import sys

from ebcore.errors import InputError, exit_on_input_error
from ebcore.params import load_params
from ebcore.train.job import make_job, write_job
from ebcore.train.torchrun import torchrun


def main(arguments: list[str]) -> None:
    """Replaces this process by torchrun."""
    if not 1 <= len(arguments) <= 2:
        raise InputError(
            f"ebcore.train.join {' '.join(arguments)}".strip(),
            "names no training stage",
            "Use: python -m ebcore.train.join STAGE [ITEM], for example train_binary 4.",
        )
    job = make_job(arguments[0], "".join(arguments[1:]), load_params())
    command, environment = torchrun(job, write_job(job), first=False)
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    with exit_on_input_error():
        main(sys.argv[1:])
