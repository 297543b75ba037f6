"""How fast a long pass over images goes, and how long it will take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from tqdm import tqdm

LINE_SECONDS = 30.0  # between two lines where there is no terminal, as in a stage's log

_T = TypeVar("_T")


@dataclass(frozen=True)
class Phase:
    """A pass as far as this process made it: what an earlier one had done is not in it."""

    name: str
    images: int
    bytes: int
    seconds: float

    @property
    def rate(self) -> str:
        """Images and megabytes a second, as text."""
        seconds = max(self.seconds, 1e-9)
        return f"{self.images / seconds:,.0f} images/s, {self.bytes / seconds / 1e6:,.1f} MB/s"

    def __str__(self) -> str:
        return f"{self.name}: {self.images:,} images in {duration(self.seconds)}, {self.rate}"


def duration(seconds: float) -> str:
    """In two units that suit it: "3.2 s", "5 min 20 s", "7 h 5 min", "3 d 4 h", "2.5 years"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    for limit, large, small in ((3600, 60, 1), (86400, 3600, 60), (365 * 86400, 86400, 3600)):
        if seconds < limit:
            count, rest = divmod(int(seconds), large)
            return f"{count} {_UNITS[large]} {rest // small} {_UNITS[small]}"
    return f"{seconds / 365.25 / 86400:,.1f} years"


_UNITS = {1: "s", 60: "min", 3600: "h", 86400: "d"}


def followed(
    items: Iterable[_T],
    size: Callable[[_T], int],
    *,
    name: str,
    total: int,
    done: int = 0,
    show: bool = True,
    on_phase: Callable[[Phase], None] = print,
) -> Iterator[_T]:
    """Yields `items`, showing images/s, MB/s and the time left; `on_phase` gets the outcome.

    On a terminal a bar, elsewhere a line every 30 s. Nothing where `show` is false.

    Args:
        size: an item's bytes.
        total: items there are, `done` by an earlier process among them.
    """
    if not show:
        yield from items
        return
    start = said = time.monotonic()
    bar = tqdm(total=total, initial=done, desc=name, unit="img", disable=not sys.stderr.isatty())
    images = bytes_ = 0
    with bar:
        for item in items:
            images, bytes_ = images + 1, bytes_ + size(item)
            yield item
            bar.update()
            now = time.monotonic()
            if bar.disable and now - said >= LINE_SECONDS:
                said = now
                phase = Phase(name, images, bytes_, now - start)
                at, left = done + images, (total - done - images) * (now - start) / images
                print(
                    f"{name}: {at:,} of {total:,} images ({100 * at / total:.1f} %), "
                    f"{phase.rate}, {duration(left)} left",
                    flush=True,
                )
            elif not bar.disable and not images % 256:
                bar.set_postfix_str(f"{bytes_ / (now - start) / 1e6:.1f} MB/s", refresh=False)
    on_phase(Phase(name, images, bytes_, time.monotonic() - start))
