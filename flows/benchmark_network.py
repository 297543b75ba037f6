"""Stage benchmark_network@NETWORK: as benchmark@N, for a network of another method."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from flows.deploy import benchmark_stage
from flows.stage import main, perform


@flow(name="benchmark_network", flow_run_name="benchmark_network@{network}", log_prints=True)
def benchmark_network(network: str, force: bool = False) -> State[Any] | None:
    return perform(benchmark_stage(network), force)


if __name__ == "__main__":
    main(benchmark_network)
