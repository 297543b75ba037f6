"""The body that the training stages share."""

from __future__ import annotations

from ebcore.workspace import curve_file, metrics_file
from flows.stage import Stage, StageRun

_ITEMS: dict[str, str | None] = {"train_real": "real", "train_one": None}


def training(stage: str, experts: int) -> Stage:
    """The stage `stage` of the policy for one expert count."""

    def body(run: StageRun) -> dict[str, float]:
        from ebcore.train.launch import run_training

        return run_training(
            stage, experts, run.params, on_line=run.on_line, on_record=run.on_record
        )

    return Stage(
        stage,
        body,
        item=_ITEMS.get(stage, experts),
        experts=experts,
        parameters=("model", stage),
        artifacts=(str(metrics_file(stage, experts)), str(curve_file(stage, experts))),
    )
