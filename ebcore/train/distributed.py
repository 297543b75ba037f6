"""One process of a group started by torchrun."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

from ebcore.train.hosts import wait_seconds
from ebcore.train.loopback import LOOPBACK, stay_on_loopback

PEERS_LOST = 75  # exit code of a process that another one left alone (sysexits' "try again")
_GLOO = "gloo/transport/"  # in the text of its errors: they have no type of their own


@dataclass(frozen=True)
class Group:
    """This process's place: `rank` of `world`, computing on `device` with `threads` CPU threads."""

    rank: int
    world: int
    device: torch.device
    threads: int

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def gather(self, values: list[float]) -> list[list[float]]:
        """Every process's values, by rank, exactly (float64)."""
        rows = torch.zeros(self.world, len(values), dtype=torch.float64)
        rows[self.rank] = torch.tensor(values, dtype=torch.float64)
        if self.world > 1:
            dist.all_reduce(rows)  # on the CPU: gloo, also beside NCCL
        return rows.tolist()

    def total(self, values: list[float]) -> list[float]:
        """Sums over all processes, added in rank order."""
        return [sum(column) for column in zip(*self.gather(values), strict=True)]

    def any(self, flags: list[bool]) -> list[bool]:
        """For each flag, whether some process raised it."""
        return [value > 0 for value in self.total([float(flag) for flag in flags])]

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Gives every process rank 0's BatchNorm statistics, the ones that are saved."""
        if self.world > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)


def join(device: str) -> Group:
    """Joins the process group torchrun describes; alone without torchrun.

    The number of CPU threads is OMP_NUM_THREADS, which torchrun sets: results depend on it.

    Args:
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    place = torch.device(device)
    if device == "cuda":
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(place)
    threads = torch.get_num_threads()
    if world > 1:
        if os.environ.get("MASTER_ADDR") == LOOPBACK:
            stay_on_loopback()
        backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(seconds=wait_seconds()))
    return Group(rank, world, place, threads)


def peers_lost(error: RuntimeError) -> str | None:
    """The reason in a few words if `error` is that of a group whose other end is gone."""
    text = str(error)
    if not isinstance(error, dist.DistError) and _GLOO not in text:
        return None
    return text.partition("] ")[2].partition(". ")[0] if _GLOO in text else text.splitlines()[0]


def leave() -> None:
    """Leaves the group."""
    if dist.is_initialized():
        dist.destroy_process_group()
