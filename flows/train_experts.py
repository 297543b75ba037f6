"""Stage train_experts@N: N experts, real weights, binary activations (EBConv, section 4.1)."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from flows.stage import main, perform
from flows.training import training


@flow(name="train_experts", flow_run_name="train_experts@{experts}", log_prints=True)
def train_experts(experts: int, force: bool = False) -> State[Any] | None:
    return perform(training("train_experts", experts), force)


if __name__ == "__main__":
    main(train_experts)
