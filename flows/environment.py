"""Where a checkout keeps its state, and the settings that its processes share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ebcore.workspace import main_checkout

_SETTINGS = {
    # no outgoing calls
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # a line per run, with the user and password that a tracker's address may hold
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # a server that is down costs seconds, not minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "PREFECT_CLIENT_MAX_RETRIES": "3",
    # one line per message on the terminal: time, stage, message
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": (
        "%(asctime)s | %(flow_run_name)s | %(message)s"
    ),
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": (
        "%(asctime)s | %(task_run_name)s | %(message)s"
    ),
}


def prepare_environment() -> None:
    """Settings for Prefect and MLflow; what the user has set stays."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(main_checkout() / ".prefect"))


def tracking_uri() -> str:
    """The MLflow tracker: the user's, else a database in the main checkout."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{main_checkout() / 'mlflow.db'}"


def remote_tracker() -> str | None:
    """The address of the tracker if it is a server, not a database."""
    uri = tracking_uri()
    return uri if uri.startswith(("http://", "https://")) else None


def dvc_environment() -> dict[str, str]:
    """For a `dvc` of ours: the `python` of dvc.yaml is the one that runs this."""
    here = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{here}{os.pathsep}{os.environ.get('PATH', '')}"}
