"""The run above a network's stages: their figures in one row, to compare networks by."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from flows.work import Branch, branch_tags

_PARAMETERS = 100  # in one request, MLflow's limit
STAGE = "branch"  # the tag `stage` of these runs


def open_branch(
    client: Any, experiment: str, branch: Branch, about: Mapping[str, str] | None = None
) -> str:
    """The id of the branch's run, which is made if it is missing.

    The caller sees to it that no other process of this machine does the same at that time. Of
    two that two machines make at once, the older stays.

    Args:
        about: tags of a stage that runs now; the branch takes over which experiment it is in.
    """
    query = f"tags.branch = '{branch.digest}' and tags.stage = '{STAGE}'"
    run = _oldest(client, experiment, query)
    if run is None:
        run = _oldest(client, experiment, query, but=_make(client, experiment, branch))
        assert run is not None
    if about is not None:
        client.update_run(run, status="RUNNING")
        for key in ("git_commit", "dvc_experiment"):
            if about.get(key):
                client.set_tag(run, key, about[key])
    return run


def add_results(client: Any, run: str, figures: Mapping[str, float]) -> None:
    """Adds the figures that are new or have changed, each at the key's next step."""
    from mlflow.entities import Metric

    known, now, points = client.get_run(run).data.metrics, int(time.time() * 1000), []
    for key, value in figures.items():
        if known.get(key) != value:
            step = len(client.get_metric_history(run, key)) if key in known else 0
            points.append(Metric(key, value, now, step))
    client.log_batch(run, metrics=points)


def add_parameters(client: Any, run: str, parameters: Mapping[str, str]) -> None:
    """Adds parameters to a run, in requests that MLflow takes."""
    from mlflow.entities import Param

    all_of_them = [Param(key, value) for key, value in parameters.items()]
    for start in range(0, len(all_of_them), _PARAMETERS):
        client.log_batch(run, params=all_of_them[start : start + _PARAMETERS])


def _make(client: Any, experiment: str, branch: Branch) -> str:
    tags = {
        "method": branch.method,
        "stage": STAGE,
        **branch_tags(branch.network),
        "profile": branch.profile,
        "branch": branch.digest,
    }
    network = branch.network
    name = f"{branch.method} N={network}" if isinstance(network, int) else network
    run = client.create_run(experiment, tags=tags, run_name=name)
    add_parameters(client, run.info.run_id, branch.parameters)
    return str(run.info.run_id)


def _oldest(client: Any, experiment: str, query: str, but: str | None = None) -> str | None:
    """The branch's run; where there are two, `but`, which was made just now, is removed."""
    found = client.search_runs([experiment], query)
    found.sort(key=lambda run: (run.info.start_time, run.info.run_id))
    first = found[0].info.run_id if found else None
    if but is not None and first != but:
        client.delete_run(but)
    return first
