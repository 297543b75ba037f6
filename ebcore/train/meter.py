"""How fast training goes, and how much of its time it waits for data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ebcore.data.loader import Batch

_LONG_WAIT = 0.2  # share of the time


class Lap(NamedTuple):
    """Images, seconds of training steps, and those among them spent waiting for a batch."""

    images: float = 0
    seconds: float = 0.0
    waited: float = 0.0

    def values(self, processes: int) -> dict[str, float]:
        """Numbers for curves; none where no step was made.

        Args:
            processes: of the group. The lap is of one of them or summed over all.
        """
        if not self.seconds:
            return {}
        return {
            "images_per_second": self.images * processes / self.seconds,
            "data_wait": self.waited / self.seconds,  # share
        }

    def told(self, processes: int) -> str:
        """The end of an epoch's line."""
        if not self.seconds:
            return ""
        speed, wait = self.values(processes).values()
        return f"; {speed:.0f} images/s, {100 * wait:.0f} % of the time waiting for data"

    def warning(self) -> str:
        """What to do about much waiting; "" where there is little."""
        if self.waited <= _LONG_WAIT * self.seconds:
            return ""
        return (
            f"training waits for data more than {100 * _LONG_WAIT:.0f} % of its time; give it more "
            "CPU cores, or make reading cheaper (prepare: smaller max_size, jpeg_fraction: 0)"
        )


class Meter:
    """Counts training steps of this process: not validation, not saving.

    What the process waits for its very first batch is no part of it: loaders compile then.
    """

    def __init__(self) -> None:
        self._total = Lap()
        self._laps: dict[str, Lap] = {}
        self._asked = 0.0
        self._warm = False

    def arriving(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches; the time until each is there counts as waited."""
        iterator = iter(batches)
        while True:
            self._asked = time.monotonic()
            batch = next(iterator, None)
            if batch is None:
                return
            if not self._warm:
                self._warm, self._asked = True, time.monotonic()
            waited = time.monotonic() - self._asked
            self._total = self._total._replace(waited=self._total.waited + waited)
            yield batch

    def step_done(self, images: int) -> None:
        """The step on the batch that arrived last is over."""
        seconds = self._total.seconds + time.monotonic() - self._asked
        self._total = Lap(self._total.images + images, seconds, self._total.waited)

    def lap(self, name: str) -> Lap:
        """What was counted since the last call with this name."""
        before = self._laps.get(name, Lap())
        self._laps[name] = self._total
        return Lap(*(now - then for now, then in zip(self._total, before, strict=True)))
