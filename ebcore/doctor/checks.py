"""Judgements on a machine: each check is a function of its readings and of what a profile needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ebcore.data.estimate import (
    DataSize,
    beton_bytes,
    gigabytes,
    memory_bytes,
    state_bytes,
)
from ebcore.doctor.machine import Machine
from ebcore.params import Params
from ebcore.train.hosts import hosts
from ebcore.workspace import BETON

Status = Literal["ok", "note", "missing"]
OPEN_FILES, PROCESSES = 1024, 4096  # least; FFCV, torch and the servers stay well below
NCCL_SHARED = 1 << 30  # NVIDIA's advice for containers, whose default is 64 MB
CACHE, RUNS = ".dvc/cache", ".runs"


@dataclass(frozen=True)
class Finding:
    """One line: `missing` keeps the profile from running, `note` makes it slower or less sure."""

    subject: str
    status: Status
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Needs:
    """What the profile asks for.

    Attributes:
        size: of the images; None where nothing is known of them.
        there: whether the image folder exists.
        prepared: whether data/beton exists.
        parameters: of its largest network.
    """

    params: Params
    size: DataSize | None
    there: bool
    prepared: bool
    parameters: int


def folders(params: Params) -> list[str]:
    """Where the pipeline writes, and where the images are."""
    return [params.data.folder, str(BETON), CACHE, RUNS]


def judge(machine: Machine, needs: Needs) -> list[Finding]:
    """Every check, in the order of the table."""
    params = needs.params
    return [
        check_python(machine),
        check_ffcv(machine, params),
        check_kernels(machine),
        check_training_kernels(machine),
        *check_gpus(machine, params),
        check_images(needs),
        *check_disks(machine, needs),
        check_memory(machine, needs),
        check_shared_memory(machine, params),
        check_open_files(machine),
        check_processes(machine),
        check_compiler(machine),
        check_tools(machine),
    ]


def check_python(machine: Machine) -> Finding:
    """Python and torch."""
    version = ".".join(map(str, machine.python))
    found = f"Python {version}, torch {machine.torch}"
    if machine.python < (3, 11):
        return Finding("Python", "missing", found, "Install Python 3.11 or newer; `make setup`.")
    return Finding("Python", "ok", found)


def check_ffcv(machine: Machine, params: Params) -> Finding:
    """The loader that the profile names."""
    if params.data.loader != "ffcv":
        return Finding("loader", "ok", f"{params.data.loader}: needs nothing")
    if machine.ffcv:
        return Finding("loader", "ok", f"ffcv {machine.ffcv}")
    remedy = "`make setup` names the headers it needs; or set data.loader: folder (slower)."
    return Finding("loader", "missing", machine.ffcv_error or "no ffcv", remedy)


def check_kernels(machine: Machine) -> Finding:
    """The packed engine."""
    if not machine.kernels:
        return Finding("packed kernels", "missing", "not built", "Run `pip install -e .` here.")
    best = machine.kernels[0]
    found = f"{best} (of {', '.join(machine.kernels)}) on {machine.cpu}, {machine.features}"
    if best == "portable":
        return Finding(
            "packed kernels", "note", found, "No AVX2, AVX-512 or NEON: packed networks run slowly."
        )
    return Finding("packed kernels", "ok", found)


def check_training_kernels(machine: Machine) -> Finding:
    """Expert layers on a CPU have kernels of their own; CUDA needs none."""
    if machine.training_kernels:
        return Finding("training kernels", "ok", f"{machine.training_kernels[0]}")
    found = "none for this CPU" if machine.kernels else "not built"
    if machine.gpus:
        return Finding("training kernels", "ok", f"{found}; GPUs do not use them")
    return Finding(
        "training kernels", "note", found, "Experts train more slowly on this CPU than they could."
    )


def check_gpus(machine: Machine, params: Params) -> Iterator[Finding]:
    """GPUs against `workers`, the driver, NCCL."""
    count, workers = len(machine.gpus), -(-params.workers // hosts())  # of this host
    names = sorted({f"{gpu.name} {gigabytes(gpu.memory)}" for gpu in machine.gpus})
    found = f"{count} for {workers} worker(s)" + (f": {', '.join(names)}" if names else "")
    if params.device == "cpu":
        yield Finding("GPUs", "ok", "not asked for (device: cpu)")
        return
    if not count:
        yield _no_gpu(machine, params, found)
        return
    if count < workers:
        yield Finding(
            "GPUs",
            "missing",
            found,
            f"Set workers: {count}, or spread them over hosts (docs/cluster.md).",
        )
    else:
        yield Finding(
            "GPUs", "ok", f"{found}, CUDA {machine.cuda}, {machine.driver or 'no driver'}"
        )
    if workers > 1 and machine.nccl is None:
        yield Finding(
            "NCCL", "missing", "this torch has none", "Install torch's CUDA build for Linux."
        )
    elif workers > 1:
        yield Finding("NCCL", "ok", machine.nccl or "")


def _no_gpu(machine: Machine, params: Params, found: str) -> Finding:
    if machine.driver and machine.cuda is None:
        remedy = "There is a driver, but this torch is for CPUs: install its CUDA build."
    elif machine.driver:
        remedy = (
            f"torch needs CUDA {machine.cuda}, which this driver may be too old for: update it."
        )
    else:
        remedy = "Install NVIDIA's driver, or train on the CPU: `make imagenet-dry` says how long."
    if params.device == "cuda" or machine.driver:
        return Finding("GPUs", "missing", found, remedy)
    return Finding("GPUs", "note", found, remedy)


def check_images(needs: Needs) -> Finding:
    """The folder of images, unless a stage makes it."""
    data, size = needs.params.data, needs.size
    if needs.there and size is not None:
        found = f"{size.train:,} + {size.val:,} images, {gigabytes(size.files)} in {data.folder}"
        if size.train and size.val:
            return Finding("images", "ok", found)
        return Finding("images", "missing", found, "Fill train/<class>/ and val/<class>/.")
    if data.fetch:
        return Finding("images", "ok", f"the stage fetch makes {data.folder}")
    return Finding(
        "images",
        "missing",
        f"no folder {data.folder}",
        "Put train/<class>/*.JPEG and val/<class>/*.JPEG there, or set data.folder.",
    )


def check_disks(machine: Machine, needs: Needs) -> Iterator[Finding]:
    """Space and inodes of each disk against everything that is to be written there."""
    shared: dict[int, list[str]] = {}
    for folder, disk in machine.disks.items():
        shared.setdefault(disk.device, []).append(folder)
    wanted = _wanted(machine, needs)
    for names in shared.values():
        disk = machine.disks[names[0]]
        subject = f"disk of {', '.join(names)}"
        if needs.size is None:
            yield Finding(
                subject, "ok", f"{gigabytes(disk.free)} free; the data's size is not known"
            )
            continue
        bytes_ = sum(wanted[name][0] for name in names)
        inodes = sum(wanted[name][1] for name in names)
        found = f"{gigabytes(disk.free)} free, about {gigabytes(bytes_)} needed"
        if disk.inodes is not None:
            found += f"; {disk.inodes:,} inodes, {inodes:,} needed"
        if bytes_ > disk.free:
            yield Finding(subject, "missing", found, _more_space(machine, needs, names))
        elif disk.inodes is not None and inodes > disk.inodes:
            yield Finding(subject, "missing", found, "Use a file system made with more inodes.")
        else:
            yield Finding(subject, "ok", found)


def links(machine: Machine) -> bool:
    """Whether DVC is told to keep one copy; by default it copies where it cannot reflink."""
    return any(kind in machine.cache_types for kind in ("hardlink", "symlink"))


def _wanted(machine: Machine, needs: Needs) -> dict[str, tuple[int, int]]:
    """Bytes and inodes yet to be written, by folder."""
    size, params = needs.size, needs.params
    if size is None:
        return dict.fromkeys(folders(params), (0, 0))
    beton = 0
    if params.data.loader == "ffcv" and not needs.prepared:
        beton = beton_bytes(size.images, size.files, params.prepare)
    images = (0, 0) if needs.there else (size.files, size.images)
    cached = 0 if links(machine) else beton
    return {
        params.data.folder: images,
        str(BETON): (beton, 10),
        CACHE: (cached, 1000),
        RUNS: (state_bytes(params, needs.parameters), 1000),
    }


def _more_space(machine: Machine, needs: Needs, names: list[str]) -> str:
    remedy = "Free space, or work in a checkout on a larger disk."
    if CACHE in names and not links(machine) and not needs.prepared:
        remedy += " One copy instead of two: `dvc config --local cache.type reflink,hardlink,copy`."
    return remedy + ("" if needs.prepared else _smaller(needs.params))


def _smaller(params: Params) -> str:
    less = params.data.loader == "ffcv" and params.prepare.jpeg_fraction < 1
    return " prepare.jpeg_fraction: 1.0 makes a smaller .beton." if less else ""


def check_memory(machine: Machine, needs: Needs) -> Finding:
    """Memory for the workers; what is left is page cache for the .beton."""
    least = memory_bytes(needs.params)
    found = f"{gigabytes(machine.memory)}, {machine.cores} cores"
    if needs.params.device != "cpu" and machine.gpus and machine.memory < least:
        return Finding(
            "memory", "missing", f"{found}; {gigabytes(least)} for the workers", "Lower workers."
        )
    if needs.size is None or needs.params.data.loader != "ffcv":
        return Finding("memory", "ok", found)
    beton = beton_bytes(needs.size.images, needs.size.files, needs.params.prepare)
    if beton + least > machine.memory:
        return Finding(
            "memory",
            "note",
            f"{found}; about {gigabytes(beton)} of .beton do not fit into its page cache",
            "Each epoch reads them from the disk: use a local SSD." + _smaller(needs.params),
        )
    return Finding("memory", "ok", f"{found}; {gigabytes(beton)} of .beton fit into it")


def check_shared_memory(machine: Machine, params: Params) -> Finding:
    """Shared memory: NCCL's buffers, and batches that the folder loader's processes hand over."""
    if machine.shared_memory is None:
        return Finding("shared memory", "ok", "no /dev/shm on this system")
    needed = NCCL_SHARED if params.workers > 1 and machine.gpus else 64 << 20
    if params.data.loader == "folder":
        batch = max(params.train(stage).batch_size for stage in params.training_stages)
        image = 3 * params.data.image_size**2
        ahead = 2 * max(1, machine.cores // params.workers)  # batches per process, torch's default
        needed += ahead * batch * image
    found = f"{gigabytes(machine.shared_memory)} in /dev/shm, {gigabytes(needed)} needed"
    if machine.shared_memory < needed:
        gb = -(-needed // (1 << 30))
        remedy = f"In a container: --shm-size={gb}g; else remount /dev/shm larger."
        return Finding("shared memory", "missing", found, remedy)
    return Finding("shared memory", "ok", found)


def check_open_files(machine: Machine) -> Finding:
    soft, hard = machine.open_files
    found = f"{_limit(soft)} (hard limit {_limit(hard)})"
    if 0 <= soft < OPEN_FILES:
        return Finding("open files", "missing", found, f"`ulimit -n {OPEN_FILES * 4}`.")
    return Finding("open files", "ok", found)


def check_processes(machine: Machine) -> Finding:
    soft, hard = machine.processes
    found = f"{_limit(soft)} (hard limit {_limit(hard)})"
    if 0 <= soft < PROCESSES:
        return Finding("processes", "note", found, f"`ulimit -u {PROCESSES}`: threads count, too.")
    return Finding("processes", "ok", found)


def _limit(value: int) -> str:
    return "no limit" if value < 0 else f"{value:,}"


def check_compiler(machine: Machine) -> Finding:
    """torch.compile on a CPU builds C++; without it a benchmark candidate is left out."""
    absent = [] if machine.headers else ["Python.h"]
    absent += [] if machine.compiler else ["a C++ compiler"]
    if absent:
        remedy = "Debian: apt-get install g++ python3-dev. Only torch.compile needs them now."
        return Finding("torch.compile", "note", f"no {' and no '.join(absent)}", remedy)
    return Finding("torch.compile", "ok", f"{machine.compiler}, Python.h")


def check_tools(machine: Machine) -> Finding:
    """git and DVC, which the pipeline runs on."""
    absent = [name for name, found in (("git", machine.git), ("dvc", machine.dvc)) if found is None]
    if absent:
        return Finding(
            "tools", "missing", f"no {', no '.join(absent)}", "Install git; `make setup`."
        )
    kind = machine.cache_types or "its default"
    return Finding("tools", "ok", f"{machine.git}, dvc {machine.dvc}, cache.type {kind}")
