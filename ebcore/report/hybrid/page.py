"""summary + figures -> the page of Hybrid Binary Networks."""

from __future__ import annotations

from typing import Any

from ebcore.report.curves import training_curves
from ebcore.report.hybrid.figures import partition_bars
from ebcore.report.hybrid.inputs import HybridResults
from ebcore.report.page import render_page


def render_hybrid(summary: dict[str, Any], results: HybridResults) -> str:
    """The page's HTML.

    Args:
        summary: the report's, see `ebcore.report.stage`.
    """
    found = summary["methods"]["hybrid"]
    curves = []
    for version, by_seed in results.trained.items():
        rows = {f"seed {seed}": trained.curve for seed, trained in by_seed.items()}
        title = f"{version}: {found['versions'][version]['title']}"
        curves.append(training_curves(rows, title, f"hybrid-{version}"))
    return render_page(
        "hybrid/page.html",
        current="hybrid",
        summary=summary,
        found=found,
        partition=partition_bars(found["choices"]),
        curves=curves,
        networks=[row for row in summary["networks"] if row["method"] == "hybrid"],
    )
