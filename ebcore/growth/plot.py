"""Accuracy against binary operations: the paper's Fig. 2 and 3 for the study's structures."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import pyplot

from ebcore.growth.points import Point
from ebcore.measure.paper import Row
from ebcore.report.labels import place_labels
from ebcore.report.style import colours, figure_style, inline_svg

_TITLE = "Accuracy against binary operations"
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_GREY = "#7f7f7f"
_MARKERS = "sD^v<>pP"  # of the paper's figures


def accuracy_plot(points: Sequence[Point], paper: Sequence[Row] = ()) -> str:
    """An inline <svg>: a colour per series, a label per point, the paper's points hollow."""
    unit, prefix = next(u for u in (*_UNITS, (1.0, "")) if max(p.bops for p in points) >= u[0])
    with figure_style("growth"):
        side = 4.2 if len(points) <= 16 else 7.0  # inches
        figure, axes = pyplot.subplots(figsize=(1.6 * side, side), layout="constrained")
        for marker, source in zip(_MARKERS, sorted({row.source for row in paper}), strict=False):
            rows = [row for row in paper if row.source == source]
            axes.scatter(
                [(row.bops or 0.0) * 1e9 / unit for row in rows],
                [row.top1_stage1 for row in rows],
                s=22, marker=marker, facecolors="none", edgecolors=_GREY, linewidths=0.9,
                label=f"paper, {source.removeprefix('EBConv ')}",
            )  # fmt: skip
        series = list(dict.fromkeys(point.series for point in points))
        for colour, name in zip(colours(len(series)), series, strict=True):
            group = sorted((p for p in points if p.series == name), key=lambda p: p.bops)
            places = [p.bops / unit for p in group], [p.top1 for p in group]
            axes.scatter(*places, s=26, color=colour, label=name, zorder=3)
        axes.set_xlabel(f"binary operations an image, {prefix}BOPs")
        axes.set_ylabel("validation top-1, %")
        axes.set_title(_TITLE)
        axes.grid(True)
        axes.set_axisbelow(True)
        axes.margins(x=0.12, y=0.1)
        figure.legend(fontsize=8, loc="outside right upper")
        place_labels(figure, axes, [(p.bops / unit, p.top1, p.name) for p in points])
        return inline_svg(figure, _TITLE)
