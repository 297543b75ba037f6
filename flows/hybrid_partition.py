"""Stage hybrid_partition@SEED: which layers keep real inputs (Hybrid Binary Networks, step 2)."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from ebcore.workspace import curve_file, metrics_file
from flows.stage import Stage, StageRun, main, perform


@flow(name="hybrid_partition", flow_run_name="hybrid_partition@{seed}", log_prints=True)
def hybrid_partition(seed: int, force: bool = False) -> State[Any] | None:
    item = str(seed)

    def body(run: StageRun) -> dict[str, Any]:
        from ebcore.methods.hybrid import partition_stage

        metrics = partition_stage(run.params, item)
        run.on_line(f"layers {metrics['chosen']} of {metrics['layers']} keep real inputs")
        return metrics

    return perform(
        Stage(
            "hybrid_partition",
            body,
            item=item,
            network=f"hybrid_train-{item}",
            parameters=("hybrid",),
            artifacts=(
                str(metrics_file("hybrid_partition", item)),
                str(curve_file("hybrid_partition", item)),
            ),
        ),
        force,
    )


if __name__ == "__main__":
    main(hybrid_partition)
