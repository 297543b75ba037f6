"""Packed networks as registered models of MLflow: a version per file."""

from __future__ import annotations

import time
from typing import Any

from flows.work import Packed


def register(client: Any, experiment: str, run: str, packed: Packed) -> None:
    """Registers a file once; the alias names the newest version of its network.

    Args:
        run: where its accuracy was measured.
    """
    same = f"name = '{packed.name}' and tags.sha256 = '{packed.sha256}'"
    found = client.search_model_versions(same)
    if found:
        version = max(int(version.version) for version in found)
        for key, value in _tags(packed).items():
            client.set_model_version_tag(packed.name, str(version), key, value)
    else:
        version = int(_new_version(client, experiment, run, packed))
    client.set_registered_model_alias(packed.name, packed.alias, str(version))


def _new_version(client: Any, experiment: str, run: str, packed: Packed) -> str:
    from mlflow.entities import Metric
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(packed.name, description=_DESCRIPTION)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    model = client.create_logged_model(
        experiment,
        f"{packed.name}-{packed.alias}",
        source_run_id=run,
        tags=_tags(packed),
        model_type="packed",
    )
    client.log_model_artifact(model.model_id, packed.file)
    client.finalize_logged_model(model.model_id, "READY")
    now = int(time.time() * 1000)
    figures = [Metric(k, v, now, 0, model.model_id) for k, v in packed.figures.items()]
    client.log_batch(run, metrics=figures)
    # not `models:/<id>`: a client of a database looks that up at the global tracker
    version = client.create_model_version(
        packed.name,
        model.artifact_location,
        run_id=run,
        tags=_tags(packed),
        model_id=model.model_id,
    )
    return str(version.version)


def _tags(packed: Packed) -> dict[str, str]:
    """A version has no metrics of its own on MLflow's page: they are tags there."""
    figures = {key: f"{value:.10g}" for key, value in packed.figures.items()}
    return {
        **packed.tags,
        "sha256": packed.sha256,
        "git_commit": packed.git_commit,
        **figures,
    }


_DESCRIPTION = (
    "Bit-packed networks (.ebp). The alias nN is the newest with N experts, others are named by "
    "recipe and seed. A version's files: "
    "`mlflow artifacts download --artifact-uri models:/NAME@nN`; then `ebcore predict FILE IMAGE`."
)
