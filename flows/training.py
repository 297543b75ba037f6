"""The body that the training stages share."""

from __future__ import annotations

from ebcore.workspace import curve_file, metrics_file
from flows.stage import Stage, StageRun

_ITEMS: dict[str, str | None] = {"train_real": "real", "train_one": None}


def training(stage: str, experts: int) -> Stage:
    """The stage `stage` of EBConv's policy for one expert count."""
    return _stage(
        stage, _ITEMS.get(stage, experts), experts, experts=experts, parameters=("model", stage)
    )


def method_training(stage: str, item: str, network: str) -> Stage:
    """A training stage of another method, towards a network."""
    section = stage.partition("_")[0]
    return _stage(stage, item, item, network=network, parameters=(section,))


def _stage(
    stage: str,
    item: str | int | None,
    file_item: str | int,
    *,
    parameters: tuple[str, ...],
    experts: int | None = None,
    network: str | None = None,
) -> Stage:
    def body(run: StageRun) -> dict[str, float]:
        from ebcore.train.launch import run_training

        return run_training(
            stage, file_item, run.params, on_line=run.on_line, on_record=run.on_record
        )

    return Stage(
        stage,
        body,
        item=item,
        experts=experts,
        network=network,
        trains=True,
        parameters=parameters,
        artifacts=(str(metrics_file(stage, file_item)), str(curve_file(stage, file_item))),
    )
