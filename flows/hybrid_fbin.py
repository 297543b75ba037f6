"""Stage hybrid_fbin@SEED: weights and inputs binary (Hybrid Binary Networks, step 1)."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from flows.stage import main, perform
from flows.training import method_training


@flow(name="hybrid_fbin", flow_run_name="hybrid_fbin@{seed}", log_prints=True)
def hybrid_fbin(seed: int, force: bool = False) -> State[Any] | None:
    return perform(method_training("hybrid_fbin", str(seed), f"hybrid_fbin-{seed}"), force)


if __name__ == "__main__":
    main(hybrid_fbin)
