"""MLflow: one run per stage and expert count, whatever interrupts the stage.

The run is found by a fingerprint of the work, so a restarted stage continues its run, and a
point that a replayed step would add again is left out. Work that is done anew after it had
finished gets a new run; the old one is tagged `superseded`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ebcore.errors import InputError
from ebcore.params import TRAINING_STAGES, Params
from ebcore.workspace import BETON, main_checkout
from flows.environment import tracking_uri

if TYPE_CHECKING:
    from flows.stage import Stage

METHOD = "ebconv"  # the experiment's name
_CURVES = {"step": "step_", "epoch": ""}  # events with points, and what their keys begin with
_NOT_METRICS = {"event", "step", "epoch", "time"}
_RETRY_SECONDS = 60
_BATCH = 1000  # metrics in one request, MLflow's limit
_COMMON = ("profile", "seed", "workers", "device", "amp", "sync_batchnorm", "data")


class Tracker:
    """The MLflow run of one stage. A tracker that is down costs a warning, never the stage."""

    def __init__(self, stage: Stage, params: Params) -> None:
        self._stage, self._params = stage, params
        self._started = time.time()
        self._client: Any = None  # MlflowClient, opened when a first point arrives
        self._run = ""
        self._retry_at = 0.0  # until then a tracker that failed is left alone
        self._points: list[tuple[str, float, int, int]] = []  # key, value, time in ms, step
        self._last: dict[str, int] = {}  # key -> last step that the run holds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client is None:
            return
        if error is None:
            status = "FINISHED"
        else:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
        self._guarded(self._end, status, last=True)

    def record(self, record: dict[str, Any]) -> None:
        """Keeps a training record's numbers; sends them at the end of an epoch or checkpoint."""
        if record["event"] == "start":  # workers that were restarted do later steps again
            self._points = [point for point in self._points if point[3] <= record["step"]]
        prefix = _CURVES.get(record["event"])
        if prefix is not None:
            values = {prefix + k: v for k, v in record.items() if k not in _NOT_METRICS}
            self._add(values, record["step"], record["time"])
        if record["event"] != "step" or len(self._points) >= _BATCH:
            self._guarded(self._send)

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Adds the stage's result and its small files."""
        self._add(metrics, max(self._last.values(), default=0), time.time())
        if self._guarded(self._send, last=True):
            self._guarded(self._keep_files)

    def _add(self, values: Mapping[str, Any], step: int, seconds: float) -> None:
        for key, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            self._points.append((key, float(value), int(seconds * 1000), step))

    def _guarded(self, action: Any, *arguments: Any, last: bool = False) -> bool:
        if not last and time.monotonic() < self._retry_at:
            return False
        try:
            if self._client is None:
                self._open()
            action(*arguments)
        except Exception as error:  # whatever a tracker does, training goes on
            if self._retry_at == 0:
                uri = tracking_uri()
                print(f"warning: MLflow at {uri} failed, its points are kept for later: {error}")
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            return False
        return True

    def _open(self) -> None:
        # 1 s: only now, so that a training stage has its workers started before
        from mlflow import MlflowClient

        logging.getLogger("mlflow.store").setLevel(logging.WARNING)  # tells of its tables
        client = MlflowClient(tracking_uri())
        experiment = _experiment(client)
        tags = self._tags()
        found = client.search_runs(
            [experiment], f"tags.fingerprint = '{tags['fingerprint']}'", max_results=1
        )
        if found and found[0].info.status != "FINISHED":
            self._run = found[0].info.run_id
            client.update_run(self._run, status="RUNNING")
            for key in found[0].data.metrics:
                self._last[key] = max(p.step for p in client.get_metric_history(self._run, key))
            known = found[0].data.params
        else:
            run = client.create_run(experiment, int(self._started * 1000), tags, self._stage.label)
            self._run, known = run.info.run_id, {}
            if found:
                client.set_tag(found[0].info.run_id, "superseded", self._run)
        self._client = client
        self._log_parameters(known)

    def _log_parameters(self, known: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        parameters = _flat(self._parameters())
        missing = [Param(k, v) for k, v in parameters.items() if k not in known]
        self._client.log_batch(self._run, params=missing)  # a value that MLflow has cannot change

    def _send(self) -> None:
        from mlflow.entities import Metric

        new = [p for p in self._points if p[3] > self._last.get(p[0], -1)]
        for start in range(0, len(new), _BATCH):
            batch = [Metric(*point) for point in new[start : start + _BATCH]]
            self._client.log_batch(self._run, metrics=batch)
        for key, _, _, step in new:
            self._last[key] = max(step, self._last.get(key, -1))
        self._points.clear()

    def _keep_files(self) -> None:
        for path in filter(Path.is_file, map(Path, self._stage.artifacts)):
            self._client.log_artifact(self._run, str(path))
        if data := _data_hash():
            self._client.set_tag(self._run, "data_sha256", data)

    def _end(self, status: str) -> None:
        if status != "FINISHED":
            self._send()
        self._client.set_terminated(self._run, status)

    def _tags(self) -> dict[str, str]:
        stage = self._stage
        tags = {
            "method": METHOD,
            "stage": stage.name,
            "dvc_stage": stage.address,
            "profile": self._params.profile,
            "git_commit": _git_commit(),
            "data_sha256": _data_hash() or "",
            "fingerprint": self._fingerprint(),
            **stage.tags,
        }
        return tags if stage.experts is None else {**tags, "experts": str(stage.experts)}

    def _parameters(self) -> dict[str, Any]:
        content = self._params.model_dump(mode="json")
        chosen = {key: content[key] for key in (*_COMMON, *self._stage.parameters)}
        return chosen if self._stage.experts is None else {**chosen, "experts": self._stage.experts}

    def _fingerprint(self) -> str:
        stage = self._stage
        if stage.name in TRAINING_STAGES:
            from ebcore.train.launch import fingerprint

            return fingerprint(stage.name, stage.experts or 1, self._params)
        work = [stage.address, self._params.model_dump(mode="json"), _data_hash()]
        return hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()


def _experiment(client: Any) -> str:
    found = client.get_experiment_by_name(METHOD)
    if found is not None:
        return str(found.experiment_id)
    local = tracking_uri().startswith("sqlite:")
    files = (main_checkout() / "mlruns").as_uri() if local else None
    tags = {"mlflow.experimentKind": "custom_model_development"}  # the page's view for training
    return str(client.create_experiment(METHOD, artifact_location=files, tags=tags))


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} -> {"a.b": "1"}"""
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = str(value)
    return flat


def _git_commit() -> str:
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else "none"


def _data_hash() -> str | None:
    from ebcore.data.manifest import load_manifest

    try:
        return load_manifest(BETON).sha256
    except InputError:
        return None
