"""The stage `ablation_table`: all variants in a table, a plot and a page."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from ebcore.ablation.files import REPORT, TABLE
from ebcore.ablation.plot import ablation_plot
from ebcore.ablation.runs import read_runs
from ebcore.ablation.summary import best, summaries
from ebcore.files import atomic_write
from ebcore.params import Params
from ebcore.report.page import render_page
from ebcore.report.style import standalone


def collect_stage(params: Params) -> dict[str, float]:
    """ablation/points/ -> ablation/ablation.csv, ablation/report/accuracy.svg and index.html.

    Equal inputs give equal bytes. Returns each variant's mean top-1 in percent.

    Raises:
        InputError: no variants or seeds, or a variant or seed has no result.
    """
    runs = read_runs(params)
    found = summaries(runs)
    svg = ablation_plot(found)
    top, near = best(found)
    page = render_page(
        "ablation.html",
        package="ebcore.ablation",
        params=params,
        found=found,
        top=top,
        near=[summary.first.variant for summary in near],
        svg=svg,
    )
    with atomic_write(TABLE) as file:
        pd.DataFrame([asdict(run) for run in runs]).to_csv(file, index=False)
    with atomic_write(REPORT / "accuracy.svg") as file:
        file.write(standalone(svg))
    with atomic_write(REPORT / "index.html") as file:
        file.write(page)
    return {f"top1_{summary.first.variant}": summary.top1.mean for summary in found}
