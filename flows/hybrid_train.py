"""Stage hybrid_train@SEED: the chosen layers keep real inputs (Hybrid Binary Networks, step 3)."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from flows.stage import main, perform
from flows.training import method_training


@flow(name="hybrid_train", flow_run_name="hybrid_train@{seed}", log_prints=True)
def hybrid_train(seed: int, force: bool = False) -> State[Any] | None:
    return perform(method_training("hybrid_train", str(seed), f"hybrid_train-{seed}"), force)


if __name__ == "__main__":
    main(hybrid_train)
