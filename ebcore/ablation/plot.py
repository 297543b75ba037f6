"""Accuracy of each variant with its spread, and its costs beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib import pyplot

from ebcore.ablation.summary import Summary
from ebcore.report.style import colours, figure_style, inline_svg

_TITLE = "Variants: accuracy over seeds, and costs"
_COSTS = (("bops", 1e6, "binary MOPs"), ("flops", 1e6, "real MOPs"), ("bits", 8e3, "kB"))


def ablation_plot(found: Sequence[Summary]) -> str:
    """An inline <svg>: a row per variant; mean, +- std and seeds, then a bar per cost."""
    rows = range(len(found))
    series = list(dict.fromkeys(summary.first.series for summary in found))
    paint = dict(zip(series, colours(len(series)), strict=True))
    shade = [paint[summary.first.series] for summary in found]
    with figure_style("ablation"):
        figure, (accuracy, *costs) = pyplot.subplots(
            1, 1 + len(_COSTS), sharey=True, layout="constrained",
            figsize=(9.6, 1.2 + 0.3 * len(found)), width_ratios=(4, *[1] * len(_COSTS)),
        )  # fmt: skip
        for row, summary, colour in zip(rows, found, shade, strict=True):
            _accuracy(accuracy, row, summary, colour)
        accuracy.set_yticks(list(rows), [summary.first.variant for summary in found])
        accuracy.set_ylim(len(found) - 0.5, -0.5)
        accuracy.set_xlabel("validation top-1, %: mean, +- standard deviation, seeds")
        for axes, (cost, unit, label) in zip(costs, _COSTS, strict=True):
            axes.barh(rows, [getattr(s.first, cost) / unit for s in found], 0.5, color=shade)
            axes.set_xlabel(label)
            axes.tick_params(axis="y", length=0)
        for axes in (accuracy, *costs):
            axes.grid(True, axis="x")
            axes.set_axisbelow(True)
        handles = [pyplot.Rectangle((0, 0), 1, 1, color=paint[name], label=name) for name in series]
        figure.legend(handles=handles, fontsize=8, ncols=len(series), loc="outside upper left")
        return inline_svg(figure, _TITLE)


def _accuracy(axes: Any, row: int, summary: Summary, colour: Any) -> None:
    mean, std = summary.top1.mean, summary.top1.std
    seeds = [run.top1 for run in summary.runs]
    axes.scatter(seeds, [row] * len(seeds), s=9, color=colour, alpha=0.45, linewidths=0)
    axes.errorbar([mean], [row], xerr=std, fmt="o", ms=5, capsize=3, lw=1.3, color=colour)
