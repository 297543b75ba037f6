"""summary + figures -> FTBNN's page."""

from __future__ import annotations

from typing import Any

from ebcore.methods.ftbnn import STEPS
from ebcore.report.curves import training_curves
from ebcore.report.ftbnn.inputs import Results
from ebcore.report.page import render_page


def render_ftbnn(summary: dict[str, Any], results: Results) -> str:
    """The page's HTML.

    Args:
        summary: the report's, see `ebcore.report.stage`.
    """
    curves = []
    for stage, variants in results.items():
        for variant, by_seed in variants.items():
            rows = {f"seed {seed}": trained.curve for seed, trained in by_seed.items()}
            title = f"{variant}, {STEPS[stage].title}"
            curves.append(training_curves(rows, title, f"{stage}-{variant}"))
    return render_page(
        "ftbnn/page.html",
        current="ftbnn",
        summary=summary,
        found=summary["methods"]["ftbnn"],
        curves=curves,
        networks=[row for row in summary["networks"] if row["method"] == "ftbnn"],
    )
