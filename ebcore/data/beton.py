"""Writes .beton files: images in order, encoded by threads, laid down by one."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from ebcore.data.augment import uniform
from ebcore.data.ffcv_compat import import_ffcv
from ebcore.data.inspection import InspectedImage
from ebcore.errors import InputError
from ebcore.params import PrepareParams
from ebcore.processes import available_cores

JPEG, RAW = 0, 1  # FFCV's codes
WINDOW = 256  # images encoded ahead of the writer


def beton_size(image: InspectedImage, max_size: int | None) -> tuple[int, int]:
    """Width and height in px as stored: the longer side at most `max_size`."""
    longer = max(image.width, image.height)
    if max_size is None or longer <= max_size:
        return image.width, image.height
    share = max_size / longer
    return max(1, round(image.width * share)), max(1, round(image.height * share))


@dataclass(frozen=True)
class _Encoded:
    mode: int
    width: int
    height: int
    label: int
    content: bytes


def write_beton(
    path: Path,
    root: Path,
    images: list[InspectedImage],
    prepare: PrepareParams,
    *,
    progress: bool = True,
) -> None:
    """Writes `images` (relative to `root`) in their order; the same images give the same bytes.

    A JPEG that fits `max_size` keeps its own bytes; others are encoded with `quality`.
    `jpeg_fraction` of the images, chosen by a hash of their index, are JPEG, the others raw.

    Raises:
        InputError: an image needs more than `page_size`.
    """
    ffcv = import_ffcv()
    jpeg = uniform(0, 0, np.arange(len(images)), draw=0) < prepare.jpeg_fraction
    for image, as_jpeg in zip(images, jpeg, strict=True):  # now, not after hours of writing
        _require_page(root / image.path, _known_bytes(image, prepare, as_jpeg=as_jpeg), prepare)
    fields = {"image": ffcv.fields.RGBImageField(), "label": ffcv.fields.IntField()}
    writer = ffcv.writer.DatasetWriter(str(path), fields, prepare.page_size, num_workers=1)
    writer.num_samples = len(images)
    writer.prepare()
    try:
        table = np.zeros(len(images), dtype=writer.metadata_type)
        pages = ffcv.memory_allocator.MemoryAllocator(
            str(path), writer.data_region_start, prepare.page_size
        )
        encoded = tqdm(
            _encode_all(root, images, jpeg, prepare),
            total=len(images),
            desc=f"write {path.name}",
            unit="img",
            disable=not progress,
        )
        # FFCV's own worker process would leave its parent waiting for ever if it failed.
        with pages:
            for index, item in enumerate(encoded):
                _require_page(root / images[index].path, len(item.content), prepare)
                _place(pages, table, index, item)
        writer.metadata_sm.buf[: table.nbytes] = table.tobytes()
        writer.finalize(pages.allocations)
    finally:
        writer.metadata_sm.close()
        writer.metadata_sm.unlink()


def _known_bytes(image: InspectedImage, prepare: PrepareParams, *, as_jpeg: bool) -> int:
    """What an image will take; 0 where only encoding it tells."""
    width, height = beton_size(image, prepare.max_size)
    if not as_jpeg:
        return 3 * width * height
    keeps = image.keeps_jpeg and (width, height) == (image.width, image.height)
    return image.size if keeps else 0


def _require_page(path: Path, size: int, prepare: PrepareParams) -> None:
    if size > prepare.page_size:
        raise InputError(
            path,
            f"needs {size} bytes, more than prepare.page_size {prepare.page_size}",
            "Raise prepare.page_size or set prepare.max_size.",
        )


def _place(pages: Any, table: np.ndarray, index: int, item: _Encoded) -> None:
    pages.set_current_sample(index)
    pointer, space = pages.malloc(len(item.content))
    space[:] = np.frombuffer(item.content, dtype=np.uint8)
    row = table["f0"][index : index + 1]
    row["mode"], row["data_ptr"] = item.mode, pointer
    row["width"], row["height"] = item.width, item.height
    table["f1"][index] = item.label


def _encode_all(
    root: Path, images: list[InspectedImage], jpeg: np.ndarray, prepare: PrepareParams
) -> Iterator[_Encoded]:
    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(images), WINDOW):
            window = range(start, min(start + WINDOW, len(images)))
            yield from pool.map(
                lambda i: _encode(root, images[i], prepare, as_jpeg=bool(jpeg[i])), window
            )


def _encode(
    root: Path, image: InspectedImage, prepare: PrepareParams, *, as_jpeg: bool
) -> _Encoded:
    try:
        content = (root / image.path).read_bytes()
    except OSError as error:
        reason = f"cannot be read any more ({error.strerror})"
        raise InputError(root / image.path, reason, "Restore it and start again.") from error
    width, height = beton_size(image, prepare.max_size)
    same_size = (width, height) == (image.width, image.height)
    if not (as_jpeg and image.keeps_jpeg and same_size):
        pixels = Image.open(io.BytesIO(content)).convert("RGB")
        if not same_size:
            pixels = pixels.resize((width, height), Image.Resampling.BOX)
        if as_jpeg:
            buffer = io.BytesIO()
            pixels.save(buffer, format="JPEG", quality=prepare.quality)
            content = buffer.getvalue()
        else:
            content = pixels.tobytes()
    return _Encoded(JPEG if as_jpeg else RAW, width, height, image.label, content)
