"""Stage evaluate_network@NETWORK: as evaluate@N, for a network of another method."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from flows.deploy import evaluate_stage
from flows.stage import main, perform


@flow(name="evaluate_network", flow_run_name="evaluate_network@{network}", log_prints=True)
def evaluate_network(network: str, force: bool = False) -> State[Any] | None:
    return perform(evaluate_stage(network), force)


if __name__ == "__main__":
    main(evaluate_network)
