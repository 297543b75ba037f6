"""What there is on this machine. Reads only; `ebcore.doctor.checks` judges."""

from __future__ import annotations

import importlib.metadata
import os
import resource
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from ebcore.data.estimate import free_bytes, nearest
from ebcore.errors import InputError
from ebcore.processes import available_cores

DRIVER = Path("/proc/driver/nvidia/version")
SHARED = Path("/dev/shm")  # noqa: S108 (its size is read, nothing written)


@dataclass(frozen=True)
class Disk:
    """The file system that a folder is on; `inodes` is None where it has no fixed number."""

    device: int
    free: int  # bytes
    inodes: int | None


@dataclass(frozen=True)
class Gpu:
    name: str
    memory: int  # bytes


@dataclass(frozen=True)
class Machine:
    """Readings, None where there is nothing to read.

    Attributes:
        ffcv, torch: version; for FFCV "" is one that cannot be imported, `ffcv_error` says why.
        cuda: the version torch was built for.
        driver: the line of the NVIDIA kernel module.
        kernels, training_kernels: instruction sets of the packed engine and of expert training,
            fastest first.
        open_files, processes: soft and hard limit; -1 is none.
        memory: bytes that this process may use, limits of a container included.
        cache_types: how DVC puts files into the work tree, "" for its default.
    """

    python: tuple[int, int]
    torch: str
    ffcv: str
    ffcv_error: str
    cuda: str | None
    driver: str | None
    gpus: tuple[Gpu, ...]
    nccl: str | None
    kernels: tuple[str, ...]
    training_kernels: tuple[str, ...]
    cpu: str
    features: str  # of the CPU, those that kernels make use of
    cores: int
    memory: int
    shared_memory: int | None
    open_files: tuple[int, int]
    processes: tuple[int, int]
    headers: bool
    compiler: str | None
    git: str | None
    dvc: str | None
    cache_types: str
    disks: dict[str, Disk]


def read_machine(folders: list[str]) -> Machine:
    """This machine, with the disks that `folders` are or will be on.

    Raises:
        InputError: PyTorch cannot be imported, without which there is nothing to look at.
    """
    try:
        import torch
    except (ImportError, OSError) as error:
        raise InputError("torch", f"cannot be imported ({error})", "Run `make setup`.") from error
    from ebcore.layers import native
    from ebcore.measure.machine import machine
    from ebcore.train.compilation import cpp_compiler

    ffcv, ffcv_error = _ffcv()
    about = machine()
    gpus = tuple(
        Gpu(properties.name, properties.total_memory)
        for properties in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    )
    nccl = None
    if gpus and torch.distributed.is_nccl_available():
        nccl = ".".join(map(str, torch.cuda.nccl.version()))
    return Machine(
        python=sys.version_info[:2],
        torch=torch.__version__,
        ffcv=ffcv,
        ffcv_error=ffcv_error,
        cuda=torch.version.cuda,
        driver=_first_line(DRIVER),
        gpus=gpus,
        nccl=nccl,
        kernels=_kernels(),
        training_kernels=native.available(),
        cpu=about["cpu"],
        features=about["isa"],
        cores=available_cores(),
        memory=_memory(),
        shared_memory=free_bytes(SHARED) if SHARED.is_dir() else None,
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE),
        processes=resource.getrlimit(resource.RLIMIT_NPROC),
        headers=Path(sysconfig.get_path("include"), "Python.h").is_file(),
        compiler=cpp_compiler(),
        git=_output("git", "--version"),
        dvc=_output(sys.executable, "-m", "dvc", "--version"),
        cache_types=_output(sys.executable, "-m", "dvc", "config", "cache.type") or "",
        disks={folder: _disk(folder) for folder in folders},
    )


def _ffcv() -> tuple[str, str]:
    from ebcore.data.ffcv_compat import import_ffcv

    try:
        import_ffcv()
        return importlib.metadata.version("ffcv"), ""
    except (InputError, importlib.metadata.PackageNotFoundError) as error:
        return "", str(error)


def _kernels() -> tuple[str, ...]:
    from ebcore.packed.isa import available

    try:
        return available()
    except (InputError, OSError):
        return ()


def _memory() -> int:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _first_line(Path("/sys/fs/cgroup/memory.max"))
    return min(total, int(limit)) if limit and limit.isdecimal() else total


def _disk(folder: str) -> Disk:
    place = nearest(folder)
    status = os.statvfs(place)
    return Disk(
        os.stat(place).st_dev, free_bytes(folder), status.f_favail if status.f_files else None
    )


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError):
        return None


def _output(*command: str) -> str | None:
    """What a command prints, None where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
