"""Stage ablation_table of ablation/dvc.yaml: the variants of FTBNN's network side by side."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from ebcore.ablation.files import ABLATION, REPORT, TABLE
from flows.stage import Stage, StageRun, main, perform


@flow(name="ablation_table", flow_run_name="ablation_table", log_prints=True)
def ablation_table(force: bool = False) -> State[Any] | None:
    files = (str(TABLE), str(REPORT / "accuracy.svg"), str(REPORT / "index.html"))
    return perform(
        Stage(
            "ablation_table",
            _body,
            folder=str(ABLATION),
            parameters=("ftbnn",),
            artifacts=files,
        ),
        force,
    )


def _body(run: StageRun) -> dict[str, Any]:
    from ebcore.ablation.collect import collect_stage

    return collect_stage(run.params)


if __name__ == "__main__":
    main(ablation_table)
