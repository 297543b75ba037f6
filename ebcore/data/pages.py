"""A .beton file laid down page by page, so that a killed process can go on after the last one."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from ebcore.data.ffcv_compat import import_ffcv
from ebcore.data.journal import Journal

SYNC_BYTES = 1 << 26  # written between two entries of the journal: what a kill can lose


class Pages:
    """FFCV's header, pages and tables around images that come in order.

    FFCV fills a page until the next image does not fit. After a kill the file is cut behind the
    last page that the journal names, whose next image begins a page in an unbroken run, too: so
    the file ends with the same bytes.

    Attributes:
        done: images that lie in the file already; the next one to be placed.
    """

    def __init__(self, path: Path, count: int, page_size: int, journal: Journal) -> None:
        ffcv = import_ffcv()
        fields = {"image": ffcv.fields.RGBImageField(), "label": ffcv.fields.IntField()}
        header = path.with_suffix(".header")
        self._writer = ffcv.writer.DatasetWriter(str(header), fields, page_size, num_workers=1)
        self._writer.num_samples = count
        self._writer.prepare()
        self._path, self._page_size, self._journal = path, page_size, journal
        self._pages = ffcv.memory_allocator.MemoryAllocator(
            str(path), self._writer.data_region_start, page_size
        )
        self.table = np.zeros(count, dtype=self._writer.metadata_type)
        self._take_up(header.read_bytes())
        header.unlink()
        self._writer.fname = str(path)
        self._noted = self.done = len(self._pages.allocations)

    def _take_up(self, header: bytes) -> None:
        """Cuts the file behind its last noted page, or starts it."""
        entries = [entry for line in self._journal.lines for entry in line]
        on_disk = self._path.stat().st_size if self._path.is_file() else 0
        self._synced = self._page(entries[-1][0]) + 1 if entries else 0
        end = self._pages.offset + self._synced * self._page_size
        if not entries or on_disk < end:
            self._journal.clear()
            self._path.write_bytes(header)
            self._synced = 0
            return
        os.truncate(self._path, end)
        self._pages.next_page_allocated.value = self._synced
        self._pages.next_page_written.value = self._synced
        for index, (pointer, size) in enumerate(entries):
            self._pages.allocations.append((index, pointer, size))
            self.table["f0"]["data_ptr"][index] = pointer

    def _page(self, pointer: int) -> int:
        return (pointer - int(self._pages.offset)) // self._page_size

    def place(self, content: bytes) -> None:
        """Appends the next image; at most `page_size` bytes."""
        self._pages.set_current_sample(self.done)
        pointer, space = self._pages.malloc(len(content))
        space[:] = np.frombuffer(content, dtype=np.uint8)
        self.table["f0"]["data_ptr"][self.done] = pointer
        self.done += 1
        if (self._pages.next_page_written.value - self._synced) * self._page_size >= SYNC_BYTES:
            self._sync()

    def _sync(self) -> None:
        """Notes the images of the pages that are written, once they are on the disk."""
        os.fsync(self._pages.fp.fileno())
        self._synced = self._pages.next_page_written.value
        entries = []
        for _, pointer, size in self._pages.allocations[self._noted :]:
            if self._page(pointer) >= self._synced:
                break
            entries.append((int(pointer), int(size)))
        self._journal.add(entries)
        self._noted += len(entries)

    def finish(self) -> None:
        """After the block: FFCV's tables and header."""
        self._writer.metadata_sm.buf[: self.table.nbytes] = self.table.tobytes()
        self._writer.finalize(self._pages.allocations)
        with open(self._path, "rb") as file:
            os.fsync(file.fileno())

    def close(self) -> None:
        """Frees FFCV's shared memory."""
        self._writer.metadata_sm.close()
        self._writer.metadata_sm.unlink()

    def __enter__(self) -> Self:
        self._pages.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pages.__exit__(kind, error, trace)
