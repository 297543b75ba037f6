"""Stage train_binary@N: N experts, binary weights, binary activations (EBConv, section 4.1)."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from flows.stage import main, perform
from flows.training import training


@flow(name="train_binary", flow_run_name="train_binary@{experts}", log_prints=True)
def train_binary(experts: int, force: bool = False) -> State[Any] | None:
    return perform(training("train_binary", experts), force)


if __name__ == "__main__":
    main(train_binary)
