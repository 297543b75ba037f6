"""Stage growth@NAME of growth/dvc.yaml: one structure of the growth study (EBConv, section 4.3)."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from ebcore.growth.files import GROWTH, point_file
from ebcore.params import load_params
from flows.stage import Stage, StageRun, main, perform


@flow(name="growth", flow_run_name="growth@{structure}", log_prints=True)
def growth(structure: str, force: bool = False) -> State[Any] | None:
    return perform(lambda: _stage(structure), force)


def _stage(name: str) -> Stage:
    """Its MLflow run shows the model that is trained, not the pipeline's."""
    from ebcore.growth.structures import find_structure, variant

    params = load_params()
    entry = find_structure(params, name)

    def body(run: StageRun) -> dict[str, float]:
        from ebcore.growth.train import growth_stage

        return growth_stage(params, name, on_line=run.on_line, on_record=run.on_record)

    return Stage(
        "growth",
        body,
        item=name,
        experts=entry.experts,
        folder=str(GROWTH),
        parameters=("model", "train_one", *(["train_experts"] if entry.experts > 1 else [])),
        artifacts=(str(point_file(name)),),
        tags={"structure": name, "series": entry.series},
        params=variant(params, entry),
    )


if __name__ == "__main__":
    main(growth)
