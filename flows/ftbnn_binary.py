"""Stage ftbnn_binary@VARIANT-SEED: FTBNN with binary weights and inputs."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from flows.stage import main, perform
from flows.training import method_training


@flow(name="ftbnn_binary", flow_run_name="ftbnn_binary@{item}", log_prints=True)
def ftbnn_binary(item: str, force: bool = False) -> State[Any] | None:
    return perform(method_training("ftbnn_binary", item, f"ftbnn_binary-{item}"), force)


if __name__ == "__main__":
    main(ftbnn_binary)
