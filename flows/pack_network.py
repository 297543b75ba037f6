"""Stage pack_network@NETWORK: as pack@N, for a network of another method."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from flows.deploy import pack_stage
from flows.stage import main, perform


@flow(name="pack_network", flow_run_name="pack_network@{network}", log_prints=True)
def pack_network(network: str, force: bool = False) -> State[Any] | None:
    return perform(pack_stage(network), force)


if __name__ == "__main__":
    main(pack_network)
