"""The results of all expert counts as a small table for a terminal."""

from __future__ import annotations

import json
from pathlib import Path

from tabulate import tabulate

from ebcore.params import TRAINING_STAGES, Params
from ebcore.workspace import metrics_file


def results_table(params: Params) -> str:
    """One row per expert count; accuracies in percent."""
    headers = ["experts", *(f"{stage} top-1" for stage in TRAINING_STAGES), "packed kB", "smaller"]
    return tabulate([_row(experts) for experts in params.experts], headers, floatfmt=".2f")


def _row(experts: int) -> list[float]:
    accuracies = [_metrics(stage, experts)["top1"] for stage in TRAINING_STAGES]
    pack = _metrics("pack", experts)
    return [experts, *accuracies, pack["bytes"] / 1000, pack["ratio"]]


def _metrics(stage: str, experts: int) -> dict[str, float]:
    content: dict[str, float] = json.loads(Path(metrics_file(stage, experts)).read_text())
    return content
