"""R2 against quantization error, a line per layer: the penalised error falls along it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import pyplot
from matplotlib.lines import Line2D

from ebcore.report.style import colours, figure_style, inline_svg, standalone

_TITLE = "Linearity against quantization error"
_MARKERS = "osD^v<>pP"  # of the penalties, in order
_GREY = "#7f7f7f"
_ERRORS = {"inputs": "input_error", "weights": "weight_error"}  # what a penalty lowers
_LABELS = {"inputs": "of the inputs", "weights": "of the weights"}

Row = Mapping[str, Any]


def linearity_plot(rows: Sequence[Row]) -> str:
    """An SVG file: a panel per error that was penalised; small dots are seeds, lines their means.

    Args:
        rows: see `benchmarks.linearity.COLUMNS`; those without a penalty belong to both panels.
    """
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    penalties = sorted({row["penalty"] for row in rows})
    with figure_style("linearity"):
        figure, panels = pyplot.subplots(
            1, len(_ERRORS), figsize=(9.2, 3.9), sharey=True, layout="constrained"
        )
        for axes, (penalised, key) in zip(panels, _ERRORS.items(), strict=True):
            mine = [row for row in rows if row["penalised"] == penalised or not row["penalty"]]
            for colour, layer in zip(colours(len(layers)), layers, strict=True):
                _draw(axes, [row for row in mine if row["layer"] == layer], key, penalties, colour)
            axes.set_title(f"penalty on the error {_LABELS[penalised]}")
            axes.set_xlabel(f"quantization error {_LABELS[penalised]}")
            axes.grid(True)
            axes.set_axisbelow(True)
        panels[0].set_ylabel("R2 of the best linear map")
        _legend(figure, layers, penalties)
        return standalone(inline_svg(figure, _TITLE))


def _draw(
    axes: Any, rows: Sequence[Row], key: str, penalties: Sequence[float], colour: Any
) -> None:
    """One layer: its seeds, and the means from no penalty to the largest."""
    means = []
    for marker, penalty in zip(_MARKERS, penalties, strict=False):
        found = [(row[key], row["r2"]) for row in rows if row["penalty"] == penalty]
        if not found:
            continue
        axes.scatter(*zip(*found, strict=True), s=5, color=colour, alpha=0.45, linewidths=0)
        x, y = (statistics.fmean(values) for values in zip(*found, strict=True))
        axes.scatter([x], [y], s=26, marker=marker, color=colour, zorder=3)
        means.append((x, y))
    if means:
        axes.plot(*zip(*means, strict=True), color=colour, linewidth=1.1, alpha=0.7)


def _legend(figure: Any, layers: Sequence[str], penalties: Sequence[float]) -> None:
    handles = [
        Line2D([], [], color=colour, label=layer.removeprefix("stages.").removesuffix(".conv"))
        for colour, layer in zip(colours(len(layers)), layers, strict=True)
    ]
    handles += [
        Line2D([], [], marker=marker, linestyle="", color=_GREY, label=f"penalty {penalty:g}")
        for marker, penalty in zip(_MARKERS, penalties, strict=False)
    ]
    figure.legend(handles=handles, fontsize=8, loc="outside right upper")
