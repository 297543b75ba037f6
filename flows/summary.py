"""The results of all expert counts as a small table for a terminal."""

from __future__ import annotations

import json

from rich.table import Table

from ebcore.params import TRAINING_STAGES, Params
from ebcore.workspace import metrics_file


def results_table(params: Params) -> Table:
    """One row per expert count: validation top-1 after each training step, and the packed file."""
    table = Table("experts", title="Validation top-1 in percent", title_justify="left")
    for heading in (*TRAINING_STAGES, "packed kB", "times smaller"):
        table.add_column(heading, justify="right")
    for experts in params.experts:
        accuracies = [_metrics(stage, experts)["top1"] for stage in TRAINING_STAGES]
        pack = _metrics("pack", experts)
        numbers = [*accuracies, pack["bytes"] / 1000, pack["ratio"]]
        table.add_row(str(experts), *(f"{number:.2f}" for number in numbers))
    return table


def _metrics(stage: str, experts: int) -> dict[str, float]:
    content: dict[str, float] = json.loads(metrics_file(stage, experts).read_text())
    return content
