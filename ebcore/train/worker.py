"""One training process: `python -m torch.distributed.run ... -m ebcore.train.worker JOB`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from ebcore.errors import EXIT_CODE, InputError
from ebcore.train.distributed import join, leave
from ebcore.train.job import read_job
from ebcore.train.loop import Stopped, Trainer
from ebcore.train.signals import StopRequest, end_with_parent

STOPPED = 75  # EX_TEMPFAIL: start again to go on


def main() -> int:
    end_with_parent()
    stop = StopRequest()
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    job = read_job(Path(sys.argv[1]))
    group = join(job.params.device)
    try:
        Trainer(job, group, stop).run()
    except Stopped:
        return STOPPED
    except InputError as error:
        parts = [error.subject, error.reason, error.remedy]
        job.error_file.write_text(json.dumps(parts), encoding="utf-8")
        print(f"error: {error}", file=sys.stderr, flush=True)
        return EXIT_CODE
    finally:
        leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
