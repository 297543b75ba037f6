"""Stage pack@N: the binary network as a bit-packed file."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from flows.deploy import pack_stage
from flows.stage import main, perform


@flow(name="pack", flow_run_name="pack@{experts}", log_prints=True)
def pack(experts: int, force: bool = False) -> State[Any] | None:
    return perform(pack_stage(experts), force)


if __name__ == "__main__":
    main(pack)
