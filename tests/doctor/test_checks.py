"""Each check on machines by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ebcore.data.estimate import IMAGENET
from ebcore.doctor.checks import CACHE, RUNS, Finding, Needs, judge
from ebcore.doctor.machine import Disk, Gpu, Machine
from ebcore.params import Params, load_params

ROOT = Path(__file__).parents[2]
GB = 10**9
GPUS = 4 * (Gpu("V100", 16 * GB),)


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(ROOT / "params/imagenet.yaml")


@pytest.fixture
def good(params: Params) -> Machine:
    """Four GPUs, one disk that holds it all."""
    disk = Disk(device=1, free=1200 * GB, inodes=10_000_000)
    folders = (params.data.folder, "data/beton", CACHE, RUNS)
    return Machine(
        python=(3, 11), torch="2.13", ffcv="1.0.2", ffcv_error="", cuda="12.8",
        driver="NVRM version: 570", gpus=GPUS, nccl="2.27.3", kernels=("avx2", "portable"),
        training_kernels=("avx2",), cpu="Xeon", features="avx2", cores=32, memory=512 * GB,
        shared_memory=64 * GB, open_files=(1024, 4096), processes=(-1, -1), headers=True,
        compiler="/usr/bin/g++", git="git version 2", dvc="3.67", cache_types="",
        disks=dict.fromkeys(folders, disk),
    )  # fmt: skip


@pytest.fixture
def needs(params: Params) -> Needs:
    return Needs(params, IMAGENET, there=True, prepared=False, parameters=20_000_000)


def other_than_ok(machine: Machine, needs: Needs) -> list[Finding]:
    return [finding for finding in judge(machine, needs) if finding.status != "ok"]


def test_nothing_is_missing_on_a_good_machine(good: Machine, needs: Needs) -> None:
    assert other_than_ok(good, needs) == []
    found = {finding.subject: finding.found for finding in judge(good, needs)}
    assert "4 for 4 worker(s): V100 16.0 GB, CUDA 12.8" in found["GPUs"]
    assert found["images"].startswith("1,281,167 + 50,000 images, 154.6 GB")


@pytest.mark.parametrize(
    ("change", "subject", "status", "remedy"),
    [
        ({"python": (3, 10)}, "Python", "missing", "3.11"),
        ({"ffcv": "", "ffcv_error": "no libturbojpeg"}, "loader", "missing", "make setup"),
        ({"kernels": ()}, "packed kernels", "missing", "pip install -e"),
        ({"kernels": ("portable",)}, "packed kernels", "note", "AVX2"),
        ({"gpus": GPUS[:2]}, "GPUs", "missing", "workers: 2"),
        ({"gpus": (), "nccl": None}, "GPUs", "missing", "may be too old"),
        ({"gpus": (), "nccl": None, "cuda": None}, "GPUs", "missing", "CUDA build"),
        ({"gpus": (), "nccl": None, "driver": None}, "GPUs", "note", "imagenet-dry"),
        ({"nccl": None}, "NCCL", "missing", "CUDA build"),
        ({"memory": 100 * GB}, "memory", "note", "SSD"),
        ({"memory": 8 * GB}, "memory", "missing", "Lower workers"),
        ({"shared_memory": 64 << 20}, "shared memory", "missing", "--shm-size=1g"),
        ({"open_files": (256, 4096)}, "open files", "missing", "ulimit -n 4096"),
        ({"processes": (1000, 1000)}, "processes", "note", "ulimit -u"),
        ({"headers": False}, "torch.compile", "note", "python3-dev"),
        ({"dvc": None}, "tools", "missing", "make setup"),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(
    good: Machine, needs: Needs, change: dict[str, object], subject: str, status: str, remedy: str
) -> None:
    (finding,) = other_than_ok(replace(good, **change), needs)  # type: ignore[arg-type]
    assert (finding.subject, finding.status) == (subject, status)
    assert remedy in finding.remedy


def test_a_disk_is_held_against_all_that_lies_on_it(good: Machine, needs: Needs) -> None:
    """About 328 GB of .beton, twice with DVC's copy, and the files if they are yet to come."""

    def problem(free: int, needs: Needs = needs, **change: object) -> str:
        disk = Disk(1, free, 10_000_000)
        changed = replace(good, disks=dict.fromkeys(good.disks, disk), **change)  # type: ignore[arg-type]
        return " ".join(finding.remedy for finding in other_than_ok(changed, needs))

    assert problem(680 * GB) == ""
    assert "cache.type reflink,hardlink" in problem(600 * GB)
    assert "jpeg_fraction: 1.0" in problem(600 * GB)
    assert problem(600 * GB, cache_types="hardlink,copy") == ""
    assert "cache.type" not in problem(100 * GB, cache_types="hardlink,copy")
    assert problem(100 * GB, replace(needs, prepared=True)) == ""
    jpeg = needs.params.prepare.model_copy(update={"jpeg_fraction": 1.0})
    smaller = replace(needs, params=needs.params.model_copy(update={"prepare": jpeg}))
    assert problem(340 * GB, smaller) == "" and "jpeg_fraction" not in problem(300 * GB, smaller)
    missing_images = other_than_ok(
        replace(good, disks=dict.fromkeys(good.disks, Disk(1, 680 * GB, 10**7))),
        replace(needs, there=False),
    )
    assert [finding.subject[:6] for finding in missing_images] == ["images", "disk o"]


def test_disks_are_judged_one_by_one(good: Machine, needs: Needs) -> None:
    disks = {**good.disks, CACHE: Disk(device=2, free=10 * GB, inodes=10_000_000)}
    (finding,) = other_than_ok(replace(good, disks=disks), needs)
    assert finding.subject == f"disk of {CACHE}" and "10.0 GB free" in finding.found


def test_too_few_inodes(good: Machine, needs: Needs) -> None:
    disks = dict.fromkeys(good.disks, Disk(1, 900 * GB, 1_000_000))
    assert other_than_ok(replace(good, disks=disks), needs) == []  # the images are there
    findings = other_than_ok(replace(good, disks=disks), replace(needs, there=False))
    assert "1,000,000 inodes, 1,33" in findings[-1].found and "more inodes" in findings[-1].remedy


def test_the_folder_loader_needs_shared_memory_for_its_batches(
    good: Machine, needs: Needs, params: Params
) -> None:
    data = params.data.model_copy(update={"loader": "folder"})
    folder = replace(needs, params=params.model_copy(update={"data": data}))
    # 1 GiB for NCCL, then 8 processes a worker, 2 batches of 256 x 224 x 224 x 3 bytes each
    needed = (1 << 30) + 16 * 256 * 3 * 224**2
    assert other_than_ok(replace(good, shared_memory=needed), folder) == []
    assert other_than_ok(replace(good, shared_memory=needed - 1), folder)
