"""Where a checkout keeps its state, and the settings that its processes share."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from ebcore.workspace import main_checkout

_PR_SET_PDEATHSIG = 1  # Linux, prctl(2)
_LIBC = ctypes.CDLL(None) if sys.platform.startswith("linux") else None

_SETTINGS = {
    # no outgoing calls
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # a server that is down costs seconds, not minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "PREFECT_CLIENT_MAX_RETRIES": "3",
    # one line per message on the terminal: time, stage, message
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": (
        "%(asctime)s | %(flow_run_name)s | %(message)s"
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


def leave_with_parent(parent: int | None = None) -> None:
    """Asks for SIGTERM when the parent process dies, so that a killed pipeline leaves no orphan.

    Args:
        parent: the parent's id, where the parent started this process in a session of its own.
    """
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    now = os.getppid()  # another process if the parent died before the line above
    orphan = now != parent if parent else os.getsid(now) != os.getsid(0)
    if orphan:
        os.kill(os.getpid(), signal.SIGTERM)
