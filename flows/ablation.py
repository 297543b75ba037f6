"""Stage ablation@VARIANT of ablation/dvc.yaml: one variant of FTBNN's network with every seed.

One process for all seeds, as a process takes longer to start than a small network to train; each
seed has an MLflow run of its own, and its trainings go on from their run directories.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from ebcore.ablation.files import ABLATION, point_file
from ebcore.params import Params, load_params
from flows.stage import Stage, StageRun, main, perform
from flows.tracking import Tracker


@flow(name="ablation", flow_run_name="ablation@{variant}", log_prints=True)
def ablation(variant: str, force: bool = False) -> State[Any] | None:
    return perform(lambda: _stage(variant), force)


def _stage(variant: str) -> Stage:
    from ebcore.ablation.variants import alone, check_variants

    params = load_params()
    check_variants(params)
    shown = alone(params, variant, params.ftbnn.seeds[0])
    section = shown.ftbnn.model_copy(update={"seeds": params.ftbnn.seeds})

    def body(run: StageRun) -> dict[str, float]:
        return _train(run, params, variant)

    return Stage(
        "ablation",
        body,
        item=variant,
        folder=str(ABLATION),
        parameters=("ftbnn",),
        artifacts=(str(point_file(variant)),),
        tags=_tags(params, variant),
        params=shown.model_copy(update={"seed": params.seed, "ftbnn": section}),
    )


def _train(run: StageRun, params: Params, variant: str) -> dict[str, float]:
    """Every seed; returns mean and standard deviation of top-1 over them."""
    from ebcore.ablation.summary import spread
    from ebcore.ablation.train import train_variant, write_point
    from ebcore.ablation.variants import alone

    results = []
    for seed in params.ftbnn.seeds:
        run.on_line(f"seed {seed}")
        with Tracker(_seed_stage(params, variant, seed), alone(params, variant, seed)) as tracker:

            def on_record(record: dict[str, Any], tracker: Tracker = tracker) -> None:
                run.on_progress(record)
                tracker.record(record)

            result = train_variant(params, variant, seed, on_line=run.on_line, on_record=on_record)
            tracker.finish({key: value for key, value in result.items() if key != "seed"})
        results.append(result)
    write_point(variant, results)
    top1 = spread([result["top1"] for result in results])
    deviation = {} if top1.std is None else {"top1_std": top1.std}
    return {"top1": top1.mean, **deviation, "seconds": sum(r["seconds"] for r in results)}


def _seed_stage(params: Params, variant: str, seed: int) -> Stage:
    """What MLflow is told of one seed: no stage of DVC's, but a part of one."""
    item = f"{variant}-{seed}"
    return Stage(
        "ablation",
        lambda run: None,
        item=item,
        network=f"ftbnn_binary-{item}",
        folder=str(ABLATION),
        parameters=("ftbnn",),
        tags={**_tags(params, variant), "seed": str(seed), "part_of": f"ablation@{variant}"},
    )


def _tags(params: Params, variant: str) -> dict[str, str]:
    return {"variant": variant, "series": params.ftbnn.variants[variant].series}


if __name__ == "__main__":
    main(ablation)
