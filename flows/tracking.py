"""MLflow: one run per stage and expert count, whatever interrupts the stage.

A tracker that is down costs a warning: points wait in memory for the next attempt, and what is
left at the stage's end goes to the outbox.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ebcore.params import Params
from flows.environment import tracking_uri
from flows.mask import mask
from flows.mlflow_run import MlflowRun, Point, connect
from flows.outbox import Entry, keep, send_kept
from flows.work import Outcome, Work, conclude, describe

if TYPE_CHECKING:
    from flows.stage import Stage

# Events with points, and what their keys begin with.
_CURVES = {"step": "step_", "epoch": "", "gates": ""}
_NOT_METRICS = {"event", "step", "epoch", "time"}
_RETRY_SECONDS = 60
_MANY = 1000  # points that are sent though no checkpoint was written


class Tracker:
    """The MLflow run of one stage. A tracker that is down costs a warning, never the stage."""

    def __init__(self, stage: Stage, params: Params) -> None:
        self._stage, self._params = stage, params
        self._started = time.time()
        self._work: Work | None = None
        self._run: MlflowRun | None = None  # opened when a first point is sent
        self._down = False
        self._retry_at = 0.0  # until then a tracker that failed is left alone
        self._points: list[Point] = []
        self._step = 0  # the last one seen

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self._run is None and not self._points:
            return  # it did nothing yet
        killed = error is not None and not isinstance(error, Exception)
        outcome = Outcome("KILLED" if killed else "FAILED") if error else None
        hurry = killed and self._is_left_alone()  # whoever stopped it waits
        if hurry or not self._sent(outcome, last=True):
            self._keep(outcome)

    def record(self, record: dict[str, Any]) -> None:
        """Keeps a training record's numbers; sends them at the end of an epoch or checkpoint."""
        if record["event"] == "start":  # workers that were restarted do later steps again
            self._points = [point for point in self._points if point[3] <= record["step"]]
        prefix = _CURVES.get(record["event"])
        self._step = max(self._step, record["step"])
        if prefix is not None:
            values = {prefix + k: v for k, v in record.items() if k not in _NOT_METRICS}
            self._add(values, record["step"], record["time"])
        due = record["event"] != "step" or len(self._points) >= _MANY
        if due and not self._is_left_alone():
            self._sent()

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Adds the stage's result."""
        self._add(metrics, self._step, time.time())

    def _add(self, values: Mapping[str, Any], step: int, seconds: float) -> None:
        for key, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            self._points.append((key, float(value), int(seconds * 1000), step))

    def _is_left_alone(self) -> bool:
        return time.monotonic() < self._retry_at

    def _sent(self, outcome: Outcome | None = None, *, last: bool = False) -> bool:
        """Sends what is kept; at the `last` time with how the stage ended, None being well."""
        try:
            if self._run is None:
                self._run = self._open()
            self._run.send(self._points)
            if last:
                self._run.close(outcome or conclude(self._stage, self._params))
        except Exception as error:  # whatever a tracker does, training goes on
            self._run = None  # which points it has is asked again
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            if not self._down:
                print(
                    f"warning: MLflow at {mask(tracking_uri())} failed, its points are kept for "
                    f"later: {mask(error)}"
                )
            self._down = True
            return False
        if self._down:
            print(f"MLflow at {mask(tracking_uri())} answers again and has the points.")
        self._down = False
        self._points.clear()
        return True

    def _open(self) -> MlflowRun:
        work = self._described()  # now: sources may change while the tracker is down
        client, experiment = connect()
        send_kept(client, experiment)  # first: this stage's earlier attempt may be there
        return MlflowRun.open(client, experiment, work)

    def _described(self) -> Work:
        if self._work is None:
            self._work = describe(self._stage, self._params, self._started)
        return self._work

    def _keep(self, outcome: Outcome | None) -> None:
        try:
            outcome = outcome or conclude(self._stage, self._params)
            folder: Path | None = keep(Entry(self._described(), self._points, outcome))
        except Exception as error:
            print(f"warning: what MLflow missed of {self._stage.label} is lost: {mask(error)}")
            return
        print(
            f"warning: MLflow has missed {self._stage.label}; its points are in {folder}. The next "
            "stage that reaches MLflow sends them, or `make sync`."
        )
