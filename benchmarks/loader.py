"""How much faster are FFCV's batches than torchvision's, from the same JPEG files?

Photographs the size of ImageNet's (made up, or a folder of yours), RandomResizedCrop to 224 px,
flip, normalised float32 batches. Each candidate in a process of its own, with as many threads or
worker processes, pinned to the same cores, an epoch each in turn. Writes results/loader.csv.

`ffcv` is converted as profile imagenet says, `ffcv_jpeg` keeps the JPEGs' bytes, `ffcv_raw` stores
pixels. `ffcv_uint8` is `ffcv` as far as the CPU does it where a GPU trains: cropped pixels, which
the GPU flips and normalises.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, Literal

import psutil

from benchmarks.targets import TARGET_COLUMNS, mark_loader
from ebcore.data.convert import convert
from ebcore.data.estimate import data_size
from ebcore.data.photos import write_photos
from ebcore.errors import InputError, exit_on_input_error
from ebcore.measure.machine import available_cores, machine
from ebcore.measure.rows import MACHINE_COLUMNS, write_rows
from ebcore.measure.timing import Timing, in_turn, last_cores
from ebcore.params import DataParams, load_params
from ebcore.processes import HUGE_PAGES, leave_with_parent

RESULT = Path("results/loader.csv")
PROFILE = Path("params/imagenet.yaml")
BATCH = 64  # of one of the profile's four workers
CLASSES = 4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TORCHVISION, FOLDER = "torchvision", "folder"
FFCV, FFCV_UINT8, FFCV_JPEG, FFCV_RAW = "ffcv", "ffcv_uint8", "ffcv_jpeg", "ffcv_raw"
NAMES = (TORCHVISION, FOLDER, FFCV, FFCV_UINT8, FFCV_JPEG, FFCV_RAW)
CHANGED: dict[str, dict[str, Any]] = {  # of the profile's section `prepare`
    FFCV_JPEG: {"max_size": None, "jpeg_fraction": 1.0},
    FFCV_RAW: {"jpeg_fraction": 0.0},
}
COLUMNS = (
    "candidate", "images_per_second", "low", "high", "speedup", "cpu_ms", "threads", "batch_size",
    "images", "file_kb", "stored_kb", "image_size", "repeats", "pinned", "version",
    *MACHINE_COLUMNS, *TARGET_COLUMNS,
)  # fmt: skip
Epoch = Callable[[], tuple[float, float]]  # runs one; its seconds, and those of all CPUs together


def prepare(folder: Path, out: Path, name: str) -> float:
    """Writes what a candidate reads; bytes per image, NaN where it reads the files themselves."""
    if name == TORCHVISION:
        return float("nan")
    settings = load_params(PROFILE).prepare.model_copy(update=CHANGED.get(name))
    loader: Literal["ffcv", "folder"] = "folder" if name == FOLDER else "ffcv"
    manifest = convert(folder, out / name, settings, loader, name="photos", progress=False)
    train = manifest.splits["train"]
    return train.size / train.count if train.size else float("nan")


def open_candidate(name: str, folder: Path, prepared: Path, threads: int) -> Epoch:
    """What runs an epoch of the training images, each time another one."""
    if name == TORCHVISION:
        return _timed(_torchvision_epochs(folder, threads))
    if name == FFCV_UINT8:
        return _timed(_pixels(folder, prepared / FFCV / "train.beton", threads))
    from ebcore.data.loader import open_split

    loader: Literal["ffcv", "folder"] = "folder" if name == FOLDER else "ffcv"
    data = data_params(folder).model_copy(update={"loader": loader})
    opened = open_split(prepared / name, "train", data, batch_size=BATCH, seed=0, threads=threads)
    return _timed(opened.epoch(number) for number in range(1 << 30))


def _pixels(folder: Path, file: Path, threads: int) -> Iterator[Iterator[Any]]:
    """Epochs of uint8 [B, S, S, 3], each batch in a list of its own as `_timed` expects it."""
    from ebcore.data.augment import View, permutation
    from ebcore.data.ffcv_loader import FfcvSource
    from ebcore.data.manifest import load_manifest

    images = load_manifest(file.parent).splits["train"].count
    view = View(data_params(folder), 0, True)
    source = FfcvSource(file, view, count=images, batch_size=BATCH, threads=threads)
    count = images // BATCH * BATCH
    for number in range(1 << 30):
        order = permutation(0, number, images)[:count].reshape(-1, BATCH)
        yield ([pixels] for pixels in source.batches(number, list(order)))


def data_params(folder: Path) -> DataParams:
    """The profile's view of another folder."""
    return load_params(PROFILE).data.model_copy(update={"folder": str(folder)})


def _torchvision_epochs(folder: Path, threads: int) -> Iterator[Any]:
    from torch.utils.data import DataLoader

    from ebcore.torchvision_compat import torchvision

    t, data = torchvision.transforms, data_params(folder)
    steps = [
        t.RandomResizedCrop(data.image_size, scale=data.scale, ratio=data.ratio),
        t.RandomHorizontalFlip(),
        t.ToTensor(),
        t.Normalize(MEAN, STD),
    ]
    loader = DataLoader(
        torchvision.datasets.ImageFolder(str(folder / "train"), t.Compose(steps)),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=threads,
        persistent_workers=True,
    )
    while True:
        yield loader


def _timed(epochs: Iterator[Any]) -> Epoch:
    def run() -> tuple[float, float]:
        start, cpu = time.perf_counter(), _cpu_seconds()
        for batch in next(epochs):
            assert batch[0].shape[0] == BATCH
        return time.perf_counter() - start, _cpu_seconds() - cpu

    return run


def _cpu_seconds() -> float:
    """Of this process and its children, those that live and those that have ended."""
    spent = sum(os.times()[:4])
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            spent += sum(child.cpu_times()[:2])
    return spent


def _serve(
    pipe: Connection, parent: int, name: str, folder: Path, prepared: Path, threads: int
) -> None:
    """A candidate's process: an epoch for every message."""
    leave_with_parent(parent)
    multiprocessing.set_start_method("fork", force=True)  # for DataLoader, as in a training process
    if cores := last_cores(threads):
        os.sched_setaffinity(0, cores)
    import torch

    torch.set_num_threads(threads)
    epoch = open_candidate(name, folder, prepared, threads)
    with suppress(EOFError):
        while pipe.recv():
            pipe.send(epoch())
    os._exit(0)  # FFCV's and torch's own ends print or wait


@contextmanager
def candidate(name: str, folder: Path, prepared: Path, threads: int) -> Iterator[Epoch]:
    """The same in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_serve, args=(theirs, os.getpid(), name, folder, prepared, threads)
    )
    process.start()
    theirs.close()

    def epoch() -> tuple[float, float]:
        ours.send(True)
        seconds, cpu = ours.recv()  # EOFError: it failed, its traceback is above
        return float(seconds), float(cpu)

    try:
        epoch()  # compiles, fills the page cache
        yield epoch
    finally:
        ours.close()
        process.join()


def measure(folder: Path, prepared: Path, threads: int, repeats: int) -> list[dict[str, Any]]:
    """A row per candidate."""
    size = data_size("photos", folder)
    assert size is not None
    if size.train < BATCH:
        raise InputError(folder, f"holds {size.train} images", f"Give at least {BATCH}.")
    stored = {name: prepare(folder, prepared, name) for name in NAMES if name != FFCV_UINT8}
    stored[FFCV_UINT8] = stored[FFCV]
    with ExitStack() as stack:
        epochs = {
            name: stack.enter_context(candidate(name, folder, prepared, threads)) for name in NAMES
        }
        cpu: dict[str, list[float]] = {name: [] for name in NAMES}

        def sampler(name: str) -> Callable[[], float]:
            def sample() -> float:
                seconds, spent = epochs[name]()
                cpu[name].append(spent)
                return seconds

            return sample

        seconds = in_turn({name: sampler(name) for name in NAMES}, repeats)
    images = size.train // BATCH * BATCH
    rows = [
        {
            "candidate": name,
            **_rates(seconds[name], images),
            "speedup": seconds[TORCHVISION].median / seconds[name].median,
            "cpu_ms": 1e3 * median(cpu[name]) / images,
            "threads": threads,
            "batch_size": BATCH,
            "images": images,
            "file_kb": size.files / size.images / 1e3,
            "stored_kb": stored[name] / 1e3 if stored[name] == stored[name] else None,
            "image_size": data_params(folder).image_size,
            "repeats": repeats,
            "pinned": " ".join(map(str, last_cores(threads))),
            "version": version("ffcv" if name.startswith(FFCV) else "torchvision"),
            **machine(),
        }
        for name in NAMES
    ]
    mark_loader(rows)
    return rows


def _rates(seconds: Timing, images: int) -> dict[str, float]:
    """Images a second: the median over the epochs, and the quartiles."""
    return {
        "images_per_second": images / seconds.median,
        "low": images / seconds.high,
        "high": images / seconds.low,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1024, help="made up, for training")
    parser.add_argument("--folder", type=Path, help="your images instead: train/, val/")
    parser.add_argument("--threads", type=int, default=min(2, available_cores()))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    os.environ.update(HUGE_PAGES)  # as a training's workers, for every candidate
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch) / "photos"
        if arguments.folder is None:
            write_photos(folder, classes=CLASSES, train=arguments.images // CLASSES, val=1)
        rows = measure(folder, Path(scratch), arguments.threads, arguments.repeats)
    for row in rows:
        print(
            f"{row['candidate']}: {row['images_per_second']:.0f} images/s "
            f"({row['low']:.0f} to {row['high']:.0f}), {row['speedup']:.2f} x torchvision; "
            f"{row['cpu_ms']:.2f} ms of CPU an image"
        )
    write_rows(arguments.out, COLUMNS, rows)
    print(f"{len(rows)} rows in {arguments.out}")


if __name__ == "__main__":
    with exit_on_input_error():
        main()
