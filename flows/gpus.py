"""Which GPUs each of several stages gets that run side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, named as in CUDA_VISIBLE_DEVICES."""
    import torch

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]


def default_slots(gpus: Sequence[str], workers: int) -> int:
    """How many stages may run at once: as many as get a GPU for each worker, at least one."""
    return max(1, len(gpus) // workers)


def share(gpus: Sequence[str], slot: int, slots: int) -> dict[str, str]:
    """Environment variables for the stages of one slot; empty where there is nothing to share."""
    if slots < 2 or not gpus:
        return {}
    first, end = slot * len(gpus) // slots, (slot + 1) * len(gpus) // slots
    return {VISIBLE: ",".join(gpus[first : max(end, first + 1)])}
