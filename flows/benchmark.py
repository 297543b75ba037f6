"""Stage benchmark@N: latency of the packed network and of its peers, side by side."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from ebcore.workspace import curve_file, metrics_file
from flows.stage import Stage, StageRun, main, perform


@flow(name="benchmark", flow_run_name="benchmark@{experts}", log_prints=True)
def benchmark(experts: int, force: bool = False) -> State[Any] | None:
    def body(run: StageRun) -> dict[str, Any]:
        from ebcore.measure.benchmark import benchmark_stage

        return benchmark_stage(run.params, experts)

    return perform(
        Stage(
            "benchmark",
            body,
            item=experts,
            experts=experts,
            parameters=("model", "benchmark"),
            artifacts=(
                str(metrics_file("benchmark", experts)),
                str(curve_file("benchmark", experts)),
            ),
        ),
        force,
    )


if __name__ == "__main__":
    main(benchmark)
