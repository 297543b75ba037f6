"""Opens every image once: is it whole, what is its hash, its size, its colour."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from ebcore.data.folder import SPLITS, FoundImage, ImageFolder, first_few
from ebcore.data.journal import Journal, digest
from ebcore.data.progress import Phase, followed
from ebcore.errors import InputError
from ebcore.processes import available_cores, leave_with_parent

PARALLEL_FROM = 5000  # images; below, starting processes costs more than it saves
CHUNK = 64
NOTED = 1024  # images a line of the journal
# Mean and standard deviation come from all training images, or, of more than this many, from
# every k-th in sorted order with the smallest k that keeps within it.
COLOUR_SAMPLE = 100_000
Task = tuple[str, FoundImage, bool]  # data folder, file, whether its colours are wanted


@dataclass(frozen=True)
class InspectedImage:
    """What one image file holds. `colour`: per channel sum, then sum of squares; or None."""

    path: str
    label: int
    sha256: str
    size: int  # bytes
    width: int
    height: int
    keeps_jpeg: bool  # its own bytes can go into a .beton
    colour: tuple[int, ...] | None


@dataclass(frozen=True)
class _Damaged:
    path: str
    reason: str
    size: int = 0  # counts for nothing


@dataclass(frozen=True)
class Inspection:
    """The whole images of both splits, and the paths of those left out."""

    images: dict[str, list[InspectedImage]]
    skipped: list[str]
    mean: list[float]  # R, G, B over all pixels, 0..1
    std: list[float]


def inspect(
    folder: ImageFolder,
    on_corrupt: Literal["error", "skip"],
    *,
    journal: Journal | None = None,
    progress: bool = True,
    on_phase: Callable[[Phase], None] = print,
) -> Inspection:
    """Decodes every file of a data set, in several processes when there are many.

    Args:
        journal: keeps the findings; what it has of files that did not change since is not
            looked at again.

    Raises:
        InputError: files that are no images or are damaged (`on_corrupt` "error": all are
            counted, the first are named), or a class that has no whole image.
    """
    step = -(-len(folder.train) // COLOUR_SAMPLE)
    tasks = [
        (str(folder.root), image, split == "train" and index % step == 0)
        for split in SPLITS
        for index, image in enumerate(folder.split(split))
    ]
    noted: dict[str, list[Any]] = {}
    if journal is not None:
        noted = {key: findings for key, findings in journal.lines}
    chunks = [tasks[at : at + NOTED] for at in range(0, len(tasks), NOTED)]
    keys = [_key(chunk) if journal is not None else "" for chunk in chunks]
    left = [
        task for key, chunk in zip(keys, chunks, strict=True) if key not in noted for task in chunk
    ]
    found: list[InspectedImage | _Damaged] = []
    with _mapper(len(left)) as run:
        fresh = followed(
            run(left),
            lambda result: result.size,
            name="check",
            total=len(tasks),
            done=len(tasks) - len(left),
            show=progress,
            on_phase=on_phase,
        )
        for key, chunk in zip(keys, chunks, strict=True):
            if key in noted:
                found += map(_from_line, noted[key])
                continue
            found += (findings := list(islice(fresh, len(chunk))))
            whole = all(isinstance(finding, InspectedImage) for finding in findings)
            if journal is not None and whole:  # a failed reading may have been the disk's
                journal.add([key, [astuple(finding) for finding in findings]])
        for _ in fresh:  # its end tells the rate
            pass
    damaged = [result for result in found if isinstance(result, _Damaged)]
    if damaged and on_corrupt == "error":
        raise _damaged_error(folder.root, damaged)
    n_train = len(folder.train)
    images = {
        split: [result for result in part if isinstance(result, InspectedImage)]
        for split, part in (("train", found[:n_train]), ("val", found[n_train:]))
    }
    for split, kept in images.items():
        missing = set(range(len(folder.classes))) - {image.label for image in kept}
        if missing:
            name = folder.classes[min(missing)]
            raise InputError(
                folder.root / split / name,
                "the class has no readable image",
                "Add images, or remove it from both splits.",
            )
    return Inspection(images, [file.path for file in damaged], *_mean_and_std(images["train"]))


def _key(chunk: list[Task]) -> str:
    """Identifies files as they are now: the change time cannot be set by a program."""
    facts = []
    for root, image, colour in chunk:
        try:
            status = os.stat(Path(root, image.path))
            about = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        except OSError:
            about = []
        facts.append([image.path, image.label, colour, about])
    return digest(facts)


def _from_line(values: list[Any]) -> InspectedImage:
    """What `astuple` made a line of."""
    image = InspectedImage(*values)
    return replace(image, colour=image.colour and tuple(image.colour))


def _inspect_one(task: Task) -> InspectedImage | _Damaged:
    """Reads and decodes one file."""
    root, image, colour = task
    try:
        content = Path(root, image.path).read_bytes()
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as picture:
            warnings.simplefilter("ignore")  # odd metadata does no harm
            keeps = picture.format == "JPEG" and picture.mode in ("L", "RGB")
            pixels = picture.convert("RGB")  # decodes all of it
    # Pillow raises many kinds for damaged files, struct.error and SyntaxError among them.
    except Exception as error:
        return _Damaged(image.path, _reason(error))
    return InspectedImage(
        image.path,
        image.label,
        hashlib.sha256(content).hexdigest(),
        len(content),
        pixels.width,
        pixels.height,
        keeps,
        _colour_sums(pixels) if colour else None,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return str(error) or type(error).__name__


def _colour_sums(pixels: Image.Image) -> tuple[int, ...]:
    counts = np.array(pixels.histogram(), dtype=np.int64).reshape(3, 256)
    levels = np.arange(256, dtype=np.int64)
    return (*(counts @ levels).tolist(), *(counts @ levels**2).tolist())


def _mean_and_std(images: list[InspectedImage]) -> tuple[list[float], list[float]]:
    """Over all pixels of the sampled images, from exact integer sums."""
    sampled = [image for image in images if image.colour is not None]
    if not sampled:  # every sampled one was skipped
        return [0.5] * 3, [0.25] * 3
    count = sum(image.width * image.height for image in sampled)
    totals = [sum(c) for c in zip(*(image.colour or () for image in sampled), strict=True)]
    mean = [totals[c] / count / 255 for c in range(3)]
    variance = [(totals[3 + c] * count - totals[c] ** 2) / (count * 255) ** 2 for c in range(3)]
    # A constant channel has no spread to divide by.
    return mean, [v**0.5 if v > 0 else 1.0 for v in variance]


def _damaged_error(root: Path, damaged: list[_Damaged]) -> InputError:
    remedy = "Mend or remove them, or set prepare.on_corrupt: skip."
    if len(damaged) == 1:
        return InputError(root / damaged[0].path, f"cannot be read ({damaged[0].reason})", remedy)
    named = first_few([f"{file.path} ({file.reason})" for file in damaged])
    return InputError(root, f"{len(damaged)} files are no whole images: {named}", remedy)


@contextmanager
def _mapper(count: int) -> Iterator[Callable[[list[Task]], Iterator[InspectedImage | _Damaged]]]:
    if count < PARALLEL_FROM:
        yield lambda tasks: map(_inspect_one, tasks)
        return
    # Not fork: the caller may have threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        available_cores(), context, initializer=leave_with_parent, initargs=(os.getpid(),)
    )
    try:
        yield lambda tasks: pool.map(_inspect_one, tasks, chunksize=CHUNK)
    finally:
        pool.shutdown(cancel_futures=True)
