"""Stage hybrid_compared@VERSION-SEED: a version that the hybrid is compared with."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from flows.stage import main, perform
from flows.training import method_training


@flow(name="hybrid_compared", flow_run_name="hybrid_compared@{item}", log_prints=True)
def hybrid_compared(item: str, force: bool = False) -> State[Any] | None:
    return perform(method_training("hybrid_compared", item, f"hybrid_compared-{item}"), force)


if __name__ == "__main__":
    main(hybrid_compared)
