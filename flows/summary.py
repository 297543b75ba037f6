"""The results of all expert counts as a small table for a terminal."""

from __future__ import annotations

import json

from rich.table import Table

from ebcore.params import Params
from ebcore.workspace import metrics_file


def results_table(params: Params) -> Table:
    """One row per expert count: validation top-1 after each step, and the packed file."""
    table = Table("experts", title="Validation top-1 in percent; the packed file against fp32")
    steps = ["teacher"] if params.teacher else []
    steps += ["step 1", "step 3", "step 4"]
    for heading in (*steps, "packed", "kB", "smaller", "faster"):
        table.add_column(heading, justify="right")
    for experts in params.experts:
        pack = _metrics("pack", experts)
        accuracies = [_metrics(stage, experts)["top1"] for stage in params.training_stages]
        table.add_row(
            str(experts),
            *(f"{top1:.2f}" for top1 in accuracies),
            f"{_metrics('evaluate', experts)['packed_top1']:.2f}",
            f"{pack['file_bytes'] / 1000:.1f}",
            f"{pack['ratio']:.1f} x",
            f"{_metrics('benchmark', experts)['speedup_torch_fp32']:.1f} x",
        )
    return table


def _metrics(stage: str, experts: int) -> dict[str, float]:
    content: dict[str, float] = json.loads(metrics_file(stage, experts).read_text())
    return content
