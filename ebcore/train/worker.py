"""One training process: `python -m torch.distributed.run ... -m ebcore.train.worker JOB`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from ebcore.errors import InputError
from ebcore.processes import leave_with_parent
from ebcore.train.distributed import join, leave
from ebcore.train.job import read_job
from ebcore.train.loop import Stopped, Trainer
from ebcore.train.signals import StopRequest


def main() -> None:
    leave_with_parent(os.getppid())
    stop = StopRequest()
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    job = read_job(Path(sys.argv[1]))
    group = join(job.params.device)
    try:
        Trainer(job, group, stop).run()
    except Stopped:
        pass  # the network is missing: that tells the launching process
    except InputError as error:
        # An exit code would make torchrun print a traceback of its own over the reason.
        parts = [error.subject, error.reason, error.remedy]
        job.error_file.write_text(json.dumps(parts), encoding="utf-8")
    finally:
        leave()


if __name__ == "__main__":
    main()
