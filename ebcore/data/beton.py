"""Writes .beton files: images in order, encoded by threads, laid down by one."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from ebcore.data.augment import uniform
from ebcore.data.inspection import InspectedImage
from ebcore.data.journal import Journal
from ebcore.data.pages import Pages
from ebcore.data.progress import Phase, followed
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


def write_beton(
    path: Path,
    root: Path,
    images: list[InspectedImage],
    prepare: PrepareParams,
    *,
    journal: Journal,
    progress: bool = True,
    on_phase: Callable[[Phase], None] = print,
) -> None:
    """Writes `images` (relative to `root`) in their order; the same images give the same bytes.

    A JPEG that fits `max_size` keeps its own bytes; others are encoded with `quality`.
    `jpeg_fraction` of the images, chosen by a hash of their index, are JPEG, the others raw.
    What the journal says an earlier process wrote stays; the bytes are those of an unbroken run.

    Raises:
        InputError: an image needs more than `page_size`.
    """
    jpeg = uniform(0, 0, np.arange(len(images)), draw=0) < prepare.jpeg_fraction
    for image, as_jpeg in zip(images, jpeg, strict=True):  # now, not after hours of writing
        _require_page(root / image.path, _known_bytes(image, prepare, as_jpeg=as_jpeg), prepare)
    pages = Pages(path, len(images), prepare.page_size, journal)
    try:
        rows = pages.table["f0"]
        rows["mode"] = np.where(jpeg, JPEG, RAW)
        sizes = np.array([beton_size(image, prepare.max_size) for image in images])
        rows["width"], rows["height"] = sizes.T
        pages.table["f1"] = [image.label for image in images]
        encoded = followed(
            _encode_all(root, images, jpeg, prepare, pages.done),
            len,
            name=f"write {path.name}",
            total=len(images),
            done=pages.done,
            show=progress,
            on_phase=on_phase,
        )
        # FFCV's own worker process would leave its parent waiting for ever if it failed.
        with pages:
            for index, content in enumerate(encoded, start=pages.done):
                _require_page(root / images[index].path, len(content), prepare)
                pages.place(content)
        pages.finish()
    finally:
        pages.close()


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


def _encode_all(
    root: Path, images: list[InspectedImage], jpeg: np.ndarray, prepare: PrepareParams, start: int
) -> Iterator[bytes]:
    """The images from `start` on, in order, `WINDOW` of them under way."""
    ahead: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(available_cores()) as pool:
        try:
            for image, as_jpeg in zip(images[start:], jpeg[start:], strict=True):
                if len(ahead) == WINDOW:
                    yield ahead.popleft().result()
                ahead.append(pool.submit(_encode, root, image, prepare, as_jpeg=bool(as_jpeg)))
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _encode(root: Path, image: InspectedImage, prepare: PrepareParams, *, as_jpeg: bool) -> bytes:
    """What the .beton holds of an image."""
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
    return content
