"""A progress bar for a training stage, on a terminal only."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm


class Progress:
    """Follows the records of `ebcore.train.launch.run_training`."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, record: dict[str, Any]) -> None:
        """Makes the bar at a `start` record and moves it at the `step` records."""
        if record["event"] == "start" and sys.stderr.isatty():
            if self._bar is not None:  # a stage with a second training
                self._bar.close()
            self._bar = tqdm(
                desc=self._label,
                total=record["steps"],
                initial=record["step"],
                unit=" steps",
                leave=False,
                dynamic_ncols=True,
            )
        elif record["event"] == "step" and self._bar is not None:
            self._bar.set_postfix(loss=f"{record['loss']:.4f}", refresh=False)
            self._bar.update(record["step"] - self._bar.n)
