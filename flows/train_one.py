"""Stage train_one: one expert, real weights, binary activations (EBConv, section 4.1)."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from flows.stage import main, perform
from flows.training import training


@flow(name="train_one", flow_run_name="train_one", log_prints=True)
def train_one(force: bool = False) -> State[Any] | None:
    return perform(training("train_one", 1), force)


if __name__ == "__main__":
    main(train_one)
