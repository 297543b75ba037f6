"""torchrun's command for one host's share of a stage's workers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ebcore.errors import InputError
from ebcore.processes import HUGE_PAGES, available_cores
from ebcore.train.hosts import HOSTS, RENDEZVOUS, Place, hosts, place, restarts, wait_seconds
from ebcore.train.job import Job

JOINED = "is_host=0"  # in the command of every host but the first


def torchrun(job: Job, job_file: Path, *, first: bool = True) -> tuple[list[str], dict[str, str]]:
    """The command, and the environment to start it in.

    EBCORE_HOSTS and EBCORE_RENDEZVOUS spread `workers` over hosts (see `ebcore.train.hosts`).

    Args:
        first: whether this host runs the pipeline.

    Raises:
        InputError: a variable does not make sense, or not on this host.
    """
    share = workers_here(job)
    command = [sys.executable, "-m", "ebcore.train.agent", "--nproc-per-node", str(share)]
    command += ["--max-restarts", str(restarts())]
    environment = {
        "OMP_NUM_THREADS": str(max(1, available_cores() // share)),
        **HUGE_PAGES,
        # Restarted workers would find the addresses of those before them (pytorch#135712).
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "TORCH_CPP_LOG_LEVEL": "ERROR",  # DDP warns of what ebcore.train.loop asks for
        **os.environ,
    }
    if hosts() == 1:
        command.append("--standalone")
    else:
        endpoint = os.environ.get(RENDEZVOUS)
        here = place(endpoint)
        if here.is_first != first:
            raise InputError(
                f"{RENDEZVOUS}={endpoint}",
                "is another host" if first else "is this host",
                "Name the host that runs the pipeline; the others join it.",
            )
        command += _meeting(job, here, str(endpoint))
        if here.interface:  # gloo goes by the host's name, which often means loopback
            environment.setdefault("GLOO_SOCKET_IFNAME", here.interface)
    return [*command, "-m", "ebcore.train.worker", str(job_file)], environment


def workers_here(job: Job) -> int:
    """This host's share of the workers.

    Raises:
        InputError: they cannot be shared evenly.
    """
    if job.params.workers % hosts():
        raise InputError(
            f"{HOSTS}={hosts()}",
            f"cannot share {job.params.workers} workers",
            "Use a number of hosts that divides workers in params.yaml.",
        )
    return job.params.workers // hosts()


def _meeting(job: Job, here: Place, endpoint: str) -> list[str]:
    # torchrun ranks hosts by the text of their address, and only that of the first is ever used:
    # with these texts the first host has rank 0, whose worker prints.
    address = here.address if here.is_first else f"~{here.address}"
    wait = wait_seconds()
    role = "is_host=1" if here.is_first else JOINED
    return [
        *("--nnodes", str(hosts()), "--rdzv-id", job.fingerprint, "--rdzv-backend", "c10d"),
        *("--rdzv-endpoint", endpoint, "--local-addr", address),
        *("--rdzv-conf", f"{role},join_timeout={wait},read_timeout={wait}"),
    ]
