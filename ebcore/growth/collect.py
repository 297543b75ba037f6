"""The stage `growth_plot`: all structures of the study in a table, a plot and a page."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from ebcore.files import atomic_write
from ebcore.growth.files import REPORT, TABLE
from ebcore.growth.plot import accuracy_plot
from ebcore.growth.points import read_points
from ebcore.measure.paper import ROWS, Row
from ebcore.params import Params
from ebcore.report.page import render_page
from ebcore.report.style import standalone


def collect_stage(params: Params) -> dict[str, float]:
    """growth/points/ -> growth/growth.csv, growth/report/accuracy.svg and index.html.

    Equal inputs give equal bytes. Returns each structure's top-1 in percent.

    Raises:
        InputError: a structure has no result, or there is no structure.
    """
    points = read_points(params)
    paper = paper_points() if params.data.name == "imagenet" else []
    svg = accuracy_plot(points, paper)
    with atomic_write(TABLE) as file:
        pd.DataFrame([asdict(point) for point in points]).to_csv(file, index=False)
    with atomic_write(REPORT / "accuracy.svg") as file:
        file.write(standalone(svg))
    with atomic_write(REPORT / "index.html") as file:
        file.write(
            render_page(
                "growth.html",
                package="ebcore.growth",
                params=params,
                points=points,
                svg=svg,
                with_paper=bool(paper),
            )
        )
    return {f"top1_{point.name}": point.top1 for point in points}


def paper_points() -> list[Row]:
    """What the paper's figures show: stage I networks with their operations."""
    return [row for row in ROWS if row.source.startswith("EBConv Fig") and row.top1_stage1]
