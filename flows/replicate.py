"""Stage replicate@N: the trained kernel becomes the start of every expert (EBConv, section 4.1)."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from flows.stage import Stage, StageRun, main, perform


@flow(name="replicate", flow_run_name="replicate@{experts}", log_prints=True)
def replicate(experts: int, force: bool = False) -> State[Any] | None:
    def body(run: StageRun) -> dict[str, Any]:
        from ebcore.methods.ebconv import replicate_stage

        return replicate_stage(run.params, experts)

    return perform(
        Stage(
            "replicate",
            body,
            item=experts,
            experts=experts,
            parameters=("model",),
        ),
        force,
    )


if __name__ == "__main__":
    main(replicate)
