"""Stage growth_plot of growth/dvc.yaml: all structures of the study side by side."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from ebcore.growth.files import GROWTH, REPORT, TABLE
from flows.stage import Stage, StageRun, main, perform


@flow(name="growth_plot", flow_run_name="growth_plot", log_prints=True)
def growth_plot(force: bool = False) -> State[Any] | None:
    files = (str(TABLE), str(REPORT / "accuracy.svg"), str(REPORT / "index.html"))
    return perform(
        Stage(
            "growth_plot",
            _body,
            folder=str(GROWTH),
            parameters=("model", "growth"),
            artifacts=files,
        ),
        force,
    )


def _body(run: StageRun) -> dict[str, Any]:
    from ebcore.growth.collect import collect_stage

    return collect_stage(run.params)


if __name__ == "__main__":
    main(growth_plot)
