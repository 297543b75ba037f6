"""The entry page: what ran, and every packed network of all methods in one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ebcore.report.ebconv.inputs import Branch
from ebcore.report.page import render_page
from ebcore.report.tradeoff import accuracy_by_operations, accuracy_by_size
from ebcore.workspace import SHARED_STAGES


def render_overview(summary: dict[str, Any]) -> str:
    """The page's HTML.

    Args:
        summary: the report's, see `ebcore.report.stage`.
    """
    networks = summary["networks"]
    return render_page(
        "overview.html",
        current="index",
        summary=summary,
        by_size=accuracy_by_size(networks),
        by_operations=accuracy_by_operations(networks),
    )


def ebconv_trainings(branches: Sequence[Branch]) -> dict[str, Any]:
    """How many trainings EBConv took, and their seconds; what expert counts share counts once."""
    runs = {
        (stage, 0 if stage in SHARED_STAGES else branch.experts): branch.metrics[stage]
        for branch in branches
        for stage in branch.curves
    }
    return {"trainings": len(runs), "seconds": sum(run["seconds"] for run in runs.values())}
