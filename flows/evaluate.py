"""Stage evaluate@N: every validation image through the packed network and PyTorch."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from ebcore.workspace import curve_file, metrics_file
from flows.stage import Stage, StageRun, main, perform


@flow(name="evaluate", flow_run_name="evaluate@{experts}", log_prints=True)
def evaluate(experts: int, force: bool = False) -> State[Any] | None:
    def body(run: StageRun) -> dict[str, Any]:
        from ebcore.measure.evaluate import evaluate_stage

        return evaluate_stage(run.params, experts)

    return perform(
        Stage(
            "evaluate",
            body,
            item=experts,
            experts=experts,
            parameters=("model", "evaluate"),
            artifacts=(
                str(metrics_file("evaluate", experts)),
                str(curve_file("evaluate-usage", experts)),
            ),
        ),
        force,
    )


if __name__ == "__main__":
    main(evaluate)
