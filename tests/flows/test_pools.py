"""The deployments of prefect.yaml: real workers where they can run, else schemas."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling

from flows.server import prefect_server
from tests.flows.conftest import ROOT, Checkout, make_checkout, processes_of, wait_for

PATIENCE = 150.0  # s
DEPLOYMENTS = {
    entry["name"]: entry
    for entry in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
}


class Pool:
    """A checkout with a server, a work pool and the worker that serves it."""

    def __init__(self, checkout: Checkout, url: str) -> None:
        self.checkout, self.url = checkout, url
        self.worker: subprocess.Popen[str] | None = None

    def prefect(self, *arguments: str, **settings: str) -> None:
        done = self.checkout.run(
            *("python", "-m", "prefect", "--no-prompt", *arguments),
            PREFECT_API_URL=self.url,
            PWD=str(self.checkout.folder),
            **settings,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def serve(self, name: str, **settings: str) -> None:
        """As docs/cluster.md says: a pool, a deployment, a worker."""
        pool = DEPLOYMENTS[name]["work_pool"]["name"]
        self.prefect("work-pool", "create", pool, "--type", "process")
        self.prefect("deploy", "--name", name)
        command = ("python", "-m", "prefect", "worker", "start", "--pool", pool)
        self.worker = self.checkout.start(*command, PREFECT_API_URL=self.url, **settings)

    def start(self, deployment: str) -> FlowRun:
        found = self.ask("read_deployment_by_name", deployment)
        return self.ask("create_flow_run_from_deployment", found.id)  # type: ignore[no-any-return]

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        here = temporary_settings({PREFECT_API_URL: self.url})
        with here, get_client(sync_client=True) as client:
            return getattr(client, method)(*arguments, **options)

    def wait_until(self, run: FlowRun, state: str) -> None:
        wait_for(lambda: self.ask("read_flow_run", run.id).state_name == state, PATIENCE)

    def stop(self) -> None:
        if self.worker is not None:
            self.worker.terminate()
            self.worker.wait(60)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    checkout = make_checkout(tmp_path / "checkout")
    shutil.copy(ROOT / "prefect.yaml", checkout.folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(checkout.folder / ".prefect"))
        with prefect_server(port=0) as url:
            found = Pool(checkout, url)
            try:
                yield found
            finally:
                found.stop()
        wait_for(lambda: processes_of(checkout) == [], 30)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_worker_runs_the_pipeline_and_cancels_it(pool: Pool) -> None:
    pool.serve("process")
    run = pool.start("pipeline/process")
    pool.wait_until(run, "Completed")
    assert pool.checkout.run("dvc", "status", "--quiet").returncode == 0
    assert (pool.checkout.folder / "metrics/toy-4.json").exists()

    pool.checkout.set_mode("wait")
    run = pool.start("pipeline/process")
    wait_for((pool.checkout.folder / "waiting").exists, PATIENCE)
    pool.ask("set_flow_run_state", run.id, Cancelling())
    pool.wait_until(run, "Cancelled")
    toys = [each for each in processes_of(pool.checkout) if "toy" in each.cmdline()]
    assert toys == []


# What SLURM's srun does with the command of prefect.yaml, but here and without a queue.
SRUN = """#!/bin/sh
printf '%s\\n' "$@" > srun-arguments
while [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_slurm_deployment_goes_through_srun(pool: Pool, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "srun").write_text(SRUN)
    (programs / "srun").chmod(0o755)
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    pool.serve("slurm", PATH=path)
    run = pool.start("pipeline/slurm")
    pool.wait_until(run, "Completed")
    arguments = (pool.checkout.folder / "srun-arguments").read_text().split()
    assert {"--nodes=1", "--ntasks=1", "--gpus=4", "--signal=TERM@120"} <= set(arguments)
    assert pool.checkout.run("dvc", "status", "--quiet").returncode == 0


def values(name: str) -> dict[str, Any]:
    """The job variables of a deployment, as from a checkout in /srv/checkout."""
    text = json.dumps(DEPLOYMENTS[name]["work_pool"]["job_variables"])
    return json.loads(text.replace("{{ $PWD }}", "/srv/checkout"))  # type: ignore[no-any-return]


def test_every_deployment_is_the_pipeline_and_has_its_pool() -> None:
    assert list(DEPLOYMENTS) == ["process", "slurm", "docker", "kubernetes"]
    for name, entry in DEPLOYMENTS.items():
        assert entry["entrypoint"] == "flows.pipeline.pipeline"
        assert entry["work_pool"]["name"] == f"ebcore-{name}"


def test_the_docker_deployment_is_what_prefects_worker_takes() -> None:
    worker = pytest.importorskip("prefect_docker.worker")
    template = worker.DockerWorker.get_default_base_job_template()
    assert set(values("docker")) <= set(template["variables"]["properties"])
    wanted = worker.DockerWorkerJobConfiguration(**values("docker"))
    assert wanted.container_create_kwargs["shm_size"] == "8g"


def test_the_kubernetes_job_has_only_fields_that_kubernetes_knows() -> None:
    pytest.importorskip("prefect_kubernetes")
    from kubernetes_asyncio import client
    from prefect.utilities.templating import apply_values
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    template = json.loads((ROOT / "pools/kubernetes.json").read_text())
    properties, given = template["variables"]["properties"], values("kubernetes")
    assert set(given) <= set(properties)
    defaults = {key: each["default"] for key, each in properties.items() if each.get("default")}
    made = KubernetesWorkerJobConfiguration(
        **apply_values(template["job_configuration"], {**defaults, **given})
    )
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="pipeline")
    made.prepare_for_flow_run(run)
    job = made.job_manifest
    spec = job["spec"]["template"]["spec"]
    [container] = spec["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 4}
    assert {each["mountPath"]: each["name"] for each in container["volumeMounts"]} == {
        "/checkout": "checkout",
        "/dev/shm": "shm",
    }
    assert spec["volumes"][0]["persistentVolumeClaim"] == {"claimName": "ebcore-checkout"}
    assert spec["volumes"][1]["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}

    async def known() -> Any:
        async with client.ApiClient() as api:
            return api.sanitize_for_serialization(api._ApiClient__deserialize(job, "V1Job"))

    assert fields(job) - fields(asyncio.run(known())) == set()  # what V1Job has not is lost


def fields(content: Any, path: str = "") -> set[str]:
    """Where the values of nested dictionaries and lists are; without those that are null."""
    if isinstance(content, dict):
        return set().union(*(fields(each, f"{path}.{key}") for key, each in content.items()))
    if isinstance(content, list):
        return set().union(*(fields(each, f"{path}[]") for each in content))
    return set() if content is None else {path}
