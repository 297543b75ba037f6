"""Stage ftbnn_real@VARIANT-SEED: FTBNN with real weights and binary inputs."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from flows.stage import main, perform
from flows.training import method_training


@flow(name="ftbnn_real", flow_run_name="ftbnn_real@{item}", log_prints=True)
def ftbnn_real(item: str, force: bool = False) -> State[Any] | None:
    return perform(method_training("ftbnn_real", item, f"ftbnn_binary-{item}"), force)


if __name__ == "__main__":
    main(ftbnn_real)
