"""Stage benchmark@N: latency of the packed network and of its peers, side by side."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from flows.deploy import benchmark_stage
from flows.stage import main, perform


@flow(name="benchmark", flow_run_name="benchmark@{experts}", log_prints=True)
def benchmark(experts: int, force: bool = False) -> State[Any] | None:
    return perform(benchmark_stage(experts), force)


if __name__ == "__main__":
    main(benchmark)
