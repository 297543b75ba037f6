"""FFCV: one memory-mapped file, decoded by compiled code that holds no Python lock."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ebcore.data.augment import Ints, View
from ebcore.data.ffcv_compat import import_ffcv, interpreted

ffcv = import_ffcv()

from ffcv.fields.rgb_image import SimpleRGBImageDecoder  # noqa: E402
from ffcv.libffcv import imdecode, resize_crop  # noqa: E402
from ffcv.loader.epoch_iterator import EpochIterator  # noqa: E402
from ffcv.pipeline.allocation_query import AllocationQuery  # noqa: E402
from ffcv.pipeline.compiler import Compiler  # noqa: E402

JPEG = 0  # FFCV's code
BATCHES_AHEAD = 2
FEW = 2000  # images that Python decodes some dozen times while numba would compile


class BoxDecoder(SimpleRGBImageDecoder):
    """Decodes the box that each row of the metadata names and resizes it to `size` px.

    FFCV's own decoders draw boxes from numba's per-thread generators: no seed reproduces them.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._shape = (size, size, 3)

    def declare_state_and_memory(self, previous_state: Any) -> tuple[Any, Any]:
        """FFCV's hook: what comes out, and the memory it needs."""
        kind = np.dtype("u1")
        state = replace(previous_state, jit_mode=True, shape=self._shape, dtype=kind)
        return state, AllocationQuery(self._shape, kind)

    def generate_code(self) -> Callable[..., Any]:
        """FFCV's hook: the function that numba compiles."""
        read, rows = self.memory_read, Compiler.get_iterator()
        decode_jpeg, resize = Compiler.compile(imdecode), Compiler.compile(resize_crop)

        def decode(batch_indices, destination, metadata, storage_state):  # type: ignore[no-untyped-def]
            for row in rows(len(batch_indices)):
                field = metadata[row]
                content = read(field["data_ptr"], storage_state)
                height, width = np.uint32(field["height"]), np.uint32(field["width"])
                if field["mode"] == JPEG:
                    pixels = np.empty((height, width, 3), np.uint8)
                    decode_jpeg(
                        content, pixels, height, width, height, width, 0, 0, 1, 1, False, False
                    )
                else:
                    pixels = content.reshape(height, width, 3)
                top, left = field["top"], field["left"]
                resize(
                    pixels,
                    top,
                    top + field["box_height"],
                    left,
                    left + field["box_width"],
                    destination[row],
                )
            return destination[: len(batch_indices)]

        decode.is_parallel = True  # type: ignore[attr-defined]
        return decode


class _Epoch(EpochIterator):
    """FFCV's iterator in an order of ours; an error in its thread reaches the consumer."""

    def __init__(
        self, loader: Any, order: NDArray[np.uint64], boxes: Callable[[Ints], Any] | None
    ) -> None:
        self._error: BaseException | None = None
        self._boxes = boxes
        super().__init__(loader, order)

    def run_pipeline(self, b_ix: int, batch_indices: Any, *args: Any) -> Any:
        try:
            if self._boxes is not None:
                # The decoder sees this batch's rows alone, each with its box.
                self.metadata = self._boxes(np.asarray(batch_indices, np.int64))
                batch_indices = np.arange(len(batch_indices), dtype=np.uint64)
            return super().run_pipeline(b_ix, batch_indices, *args)
        except BaseException as error:
            self._error = error
            raise StopIteration from error  # ends the thread's loop; else the consumer waits on

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except StopIteration:
            if self._error is not None:
                raise RuntimeError(f"the FFCV loader failed: {self._error}") from self._error
            raise

    def close(self) -> None:
        super().close()
        while self.is_alive():  # it may be waiting to hand over a batch
            try:
                self.output_queue.get(timeout=0.05)
            except Empty:
                continue
        self.closed = True


class FfcvSource:
    """See `ebcore.data.loader.Source`; `count` is the file's number of images."""

    def __init__(
        self, path: Path, view: View, *, count: int, batch_size: int, threads: int
    ) -> None:
        self._view = view
        decoder = SimpleRGBImageDecoder() if view.whole else BoxDecoder(view.data.image_size)
        with interpreted() if count <= FEW else nullcontext():
            self._loader = ffcv.Loader(
                str(path),
                batch_size=batch_size,
                num_workers=threads,
                os_cache=True,
                seed=0,  # unused, but else drawn from numpy's global generator
                drop_last=False,
                batches_ahead=BATCHES_AHEAD,
                pipelines={"image": [decoder], "label": None},
            )
        table = self._loader.reader.metadata
        self._rows = table["f0"]
        self.labels: Ints = table["f1"].astype(np.int64)
        self._open: _Epoch | None = None

    def batches(self, epoch: int, batches: list[Ints]) -> Generator[torch.Tensor, None, None]:
        """See `ebcore.data.loader.Source`."""
        if not batches:
            return
        order = np.concatenate(batches).astype(np.uint64)
        boxes = None if self._view.whole else lambda indices: self._with_boxes(epoch, indices)
        self.close()
        self._open = iterator = _Epoch(self._loader, order, boxes)
        try:
            for (images,) in iterator:
                yield torch.from_numpy(images) if isinstance(images, np.ndarray) else images
        finally:
            iterator.close()

    def close(self) -> None:
        """Ends the thread of an epoch that was left early."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _with_boxes(self, epoch: int, indices: Ints) -> Any:
        """The metadata of `indices` with their boxes, in FFCV's form: field f0 of a table."""
        rows = self._rows[indices]
        sides = (rows["height"].astype(np.int64), rows["width"].astype(np.int64))
        names = ("top", "left", "box_height", "box_width")
        kind = np.dtype(
            [(n, rows.dtype[n]) for n in rows.dtype.names] + [(n, "<i8") for n in names]
        )
        table = np.zeros(len(indices), np.dtype([("f0", kind)]))
        for name in rows.dtype.names:
            table["f0"][name] = rows[name]
        for name, values in zip(names, self._view.boxes(epoch, indices, *sides).T, strict=True):
            table["f0"][name] = values
        return table
