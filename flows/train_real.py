"""Stage train_real: the teacher, real weights and activations (EBConv, A.5)."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from flows.stage import main, perform
from flows.training import training


@flow(name="train_real", flow_run_name="train_real", log_prints=True)
def train_real(force: bool = False) -> State[Any] | None:
    return perform(training("train_real", 1), force)


if __name__ == "__main__":
    main(train_real)
