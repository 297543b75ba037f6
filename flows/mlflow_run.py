"""One stage's run in MLflow: found again or made, filled, closed.

Everything here raises what MLflow raises; flows.tracking decides what that costs.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any, Self

from ebcore.workspace import main_checkout
from flows.branch_run import add_parameters, add_results, open_branch
from flows.environment import tracking_uri
from flows.lock import locked
from flows.registry import register
from flows.work import EXPERIMENT, Outcome, Work

Point = tuple[str, float, int, int]  # key, value, time in ms, step

_BATCH = 1000  # metrics in one request, MLflow's limit


def connect() -> tuple[Any, str]:
    """A client (MlflowClient), and the id of the experiment, which is made if it is missing."""
    from mlflow import MlflowClient  # 1 s: only now, a training stage has its workers by then

    logging.getLogger("mlflow.store").setLevel(logging.WARNING)  # tells of its tables
    with _one_at_a_time():  # a new database has no tables
        registry = os.environ.get("MLFLOW_REGISTRY_URI") or tracking_uri()
        client = MlflowClient(tracking_uri(), registry)
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return client, str(found.experiment_id)
        local = tracking_uri().startswith("sqlite:")
        files = (main_checkout() / "mlruns").as_uri() if local else None
        tags = {"mlflow.experimentKind": "custom_model_development"}  # the page's view for training
        return client, str(client.create_experiment(EXPERIMENT, artifact_location=files, tags=tags))


class MlflowRun:
    """The run of a stage's work.

    It is found by a fingerprint, so a restarted stage continues its run, and a point at a step
    that the run holds already is left out. Work that is done anew after it had finished gets a new
    run; the old one is tagged `superseded`.
    """

    def __init__(self, client: Any, experiment: str, run: str, branch: str | None) -> None:
        self._client, self._experiment = client, experiment
        self._run, self._branch = run, branch
        self._last: dict[str, int] = {}  # key -> last step that the run holds

    @classmethod
    def open(cls, client: Any, experiment: str, work: Work) -> Self:
        """Finds the work's run, or makes it, below the run of its branch."""
        with _one_at_a_time():
            branch = None
            if work.branch is not None:
                branch = open_branch(client, experiment, work.branch, work.tags)
            found = client.search_runs(
                [experiment], f"tags.fingerprint = '{work.fingerprint}'", max_results=1
            )
            if found and not _is_over(found[0], work):
                self = cls(client, experiment, found[0].info.run_id, branch)
                self._resume(found[0])
                known = found[0].data.params
            else:
                tags = {**work.tags, "fingerprint": work.fingerprint}
                if work.branch is not None and branch is not None:
                    tags |= {"mlflow.parentRunId": branch, "branch": work.branch.digest}
                old = _replaced(client, experiment, work)
                run = client.create_run(experiment, work.started, tags, work.label)
                for replaced in old:
                    client.set_tag(replaced, "superseded", run.info.run_id)
                self, known = cls(client, experiment, run.info.run_id, branch), {}
        missing = {key: text for key, text in work.parameters.items() if key not in known}
        add_parameters(client, self._run, missing)  # a value that MLflow has cannot change
        return self

    def send(self, points: Iterable[Point]) -> None:
        """Adds the points that the run does not hold yet."""
        from mlflow.entities import Metric

        new = [point for point in points if point[3] > self._last.get(point[0], -1)]
        for start in range(0, len(new), _BATCH):
            batch = [Metric(*point) for point in new[start : start + _BATCH]]
            self._client.log_batch(self._run, metrics=batch)
        for key, _, _, step in new:
            self._last[key] = max(step, self._last.get(key, -1))

    def close(self, outcome: Outcome) -> None:
        """Adds what is known at the end, and ends the run."""
        for path in outcome.files:
            self._client.log_artifact(self._run, path)
        if outcome.data_sha256:
            self._client.set_tag(self._run, "data_sha256", outcome.data_sha256)
        with _one_at_a_time():
            for branch, figures in outcome.results:
                run = open_branch(self._client, self._experiment, branch)
                add_results(self._client, run, figures)
                self._client.set_terminated(run, outcome.status)
            if outcome.packed is not None:
                register(self._client, self._experiment, self._run, outcome.packed)
        if self._branch is not None:
            self._client.set_terminated(self._branch, outcome.status)
        self._client.set_terminated(self._run, outcome.status)

    def _resume(self, run: Any) -> None:
        self._client.update_run(self._run, status="RUNNING")
        for key in run.data.metrics:
            history = self._client.get_metric_history(self._run, key)
            self._last[key] = max(point.step for point in history)


def _is_over(run: Any, work: Work) -> bool:
    """Whether `work` is another attempt than the one that the run holds, which had its end."""
    return run.info.status == "FINISHED" and work.anew and run.info.start_time != work.started


def _replaced(client: Any, experiment: str, work: Work) -> list[str]:
    """Runs of earlier results that the work takes the place of."""
    if work.branch is None:
        same = f"tags.fingerprint = '{work.fingerprint}'"
    else:
        stage = work.tags["dvc_stage"]
        same = f"tags.branch = '{work.branch.digest}' and tags.dvc_stage = '{stage}'"
    found = client.search_runs([experiment], same)
    return [run.info.run_id for run in found if "superseded" not in run.data.tags]


def _one_at_a_time() -> Any:
    """Stages that run side by side would each make the run of their branch."""
    return locked(main_checkout() / ".runs" / "mlflow.lock")
