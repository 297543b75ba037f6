"""Stage evaluate@N: every validation image through the packed network and PyTorch."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from flows.deploy import evaluate_stage
from flows.stage import main, perform


@flow(name="evaluate", flow_run_name="evaluate@{experts}", log_prints=True)
def evaluate(experts: int, force: bool = False) -> State[Any] | None:
    return perform(evaluate_stage(experts), force)


if __name__ == "__main__":
    main(evaluate)
