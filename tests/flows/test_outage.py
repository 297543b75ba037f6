"""A tracking server that is killed and comes back while a stage works."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from ebcore.params import Params
from flows import tracking
from flows.server import free_port
from flows.tracking import Tracker
from flows.ui import mlflow_server
from tests.flows.tracked import ROOT, found, points, stage, train


@pytest.mark.slow
def test_a_server_that_is_killed_has_all_points_in_the_end(
    params: Params, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(Path.cwd() / ".prefect"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(tracking, "_RETRY_SECONDS", 0.0)
    port = free_port(0)
    plain = f"http://127.0.0.1:{port}"
    address = f"http://user:secret@127.0.0.1:{port}"
    with ExitStack() as servers:
        servers.enter_context(mlflow_server(port))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with Tracker(stage(), params) as tracker:
            train(tracker, range(1, 21))
            kill_server()
            train(tracker, range(21, 41))
            start_server(servers, port)
            train(tracker, range(41, 61))
            [run] = found(plain, stage="toy")
            assert points(run, "step_loss", plain) == [(step, 1 / step) for step in range(1, 61)]
            kill_server()
            train(tracker, range(61, 81))
            tracker.finish({"top1": 97.5})
        start_server(servers, port)
        sent = subprocess.run(
            [sys.executable, "-m", "flows.outbox"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert sent.returncode == 0, sent.stderr
        [run] = found(plain, stage="toy")
        assert run.info.status == "FINISHED"
        assert points(run, "step_loss", plain) == [(step, 1 / step) for step in range(1, 81)]
        assert points(run, "top1", plain) == [(80, 97.5)]
        assert [branch.info.status for branch in found(plain, stage="branch")] == ["FINISHED"]
    output = capfd.readouterr()
    lines = [line for line in output.out.splitlines() if "MLflow" in line]
    assert [line.split("127.0.0.1")[0] for line in lines[:3]] == [
        "warning: MLflow at http://***@",
        "MLflow at http://***@",  # answers again
        "warning: MLflow at http://***@",
    ]
    assert lines[3].startswith("warning: MLflow has missed toy@4; its points are in ")
    assert len(lines) == 4
    assert "secret" not in output.out + output.err + sent.stdout + sent.stderr


def start_server(servers: ExitStack, port: int) -> None:
    """On the same database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI")
        servers.enter_context(mlflow_server(port))


def kill_server() -> None:
    for process in psutil.Process().children():
        if "mlflow" in process.cmdline():
            below = process.children(recursive=True)
            for victim in (process, *below):
                victim.kill()
            psutil.wait_procs([process, *below], 10)
