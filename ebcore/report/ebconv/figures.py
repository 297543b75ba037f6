"""The figures of EBConv's page, each as an inline <svg>."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.colors import LinearSegmentedColormap

from ebcore.report.ebconv.inputs import Branch
from ebcore.report.style import PALETTE, colours, figure_style, inline_svg

Array = np.ndarray[Any, np.dtype[Any]]
_SHARES = LinearSegmentedColormap.from_list("shares", ["#f3f6fa", "#7fb2dd", "#0b4f8a"])
_MAX_LABELS = 24  # more classes than this stay unnamed
_SMALL_COLUMNS = 4  # heat maps in a row


def accuracy_by_experts(branches: Sequence[Branch], titles: dict[str, str]) -> str:
    """Top-1 after each training step against the number of experts."""
    with figure_style("accuracy"):
        figure, axes = pyplot.subplots(figsize=(4.8, 3.2), layout="constrained")
        positions = range(len(branches))
        for colour, (stage, title) in zip(PALETTE, titles.items(), strict=False):
            values = [branch.metrics[stage]["top1"] for branch in branches]
            axes.plot(positions, values, marker="o", color=colour, label=title)
        axes.set_xticks(positions, [str(branch.experts) for branch in branches])
        axes.set_xlabel("experts N")
        axes.set_ylabel("validation top-1, %")
        axes.grid(axis="y")
        axes.margins(x=0.08, y=0.15)
        figure.legend(fontsize=8, loc="outside upper center", ncols=2)
        return inline_svg(figure, "Validation accuracy after each step by number of experts")


def usage_by_layer(shares: Array, layers: Sequence[str], name: str) -> str:
    """Heat map of the share of images [L, N] that take each expert in each layer."""
    with figure_style(name):
        rows, experts = shares.shape
        figure, axes = pyplot.subplots(
            figsize=(1.2 + 0.62 * experts, 0.6 + 0.26 * rows), layout="constrained"
        )
        axes.imshow(shares, cmap=_SHARES, vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(experts), [str(e) for e in range(experts)])
        axes.set_yticks(range(rows), layers)
        axes.set_xlabel("expert")
        _bare(axes)
        for row, column in np.ndindex(rows, experts):
            share = shares[row, column]
            axes.text(
                column,
                row,
                f"{100 * share:.0f}",
                ha="center",
                va="center",
                fontsize=7.5,
                color="#ffffff" if share > 0.55 else "#1b2733",
            )
        return inline_svg(figure, "Share of images per expert and layer, percent")


def usage_by_class(shares: Array, layers: Sequence[str], classes: Sequence[str], name: str) -> str:
    """Heat maps of the shares [L, K, N]: one per layer, a row per class."""
    with figure_style(name):
        count, rows, experts = shares.shape
        columns = min(_SMALL_COLUMNS, count)
        lines = math.ceil(count / columns)
        named = rows <= _MAX_LABELS
        height = 0.5 + (0.15 * rows if named else 2.4)
        figure, grid = pyplot.subplots(
            lines,
            columns,
            figsize=(1.0 + columns * 1.9, lines * height),
            squeeze=False,
            layout="constrained",
        )
        for index, axes in enumerate(grid.flat):
            if index >= count:
                axes.set_visible(False)
                continue
            axes.imshow(shares[index], cmap=_SHARES, vmin=0, vmax=1, aspect="auto")
            axes.set_title(layers[index], fontsize=8)
            axes.set_xticks(range(experts), [str(e) for e in range(experts)], fontsize=7)
            first = index % columns == 0
            axes.set_yticks(range(rows), classes, fontsize=7) if named and first else (
                axes.set_yticks([])
            )
            _bare(axes)
        return inline_svg(figure, "Share of images per expert for each class, by layer")


def scatter(points: Array, groups: Array, labels: Sequence[str], title: str, name: str) -> str:
    """Points [n, 2] coloured by group; the legend names the groups while there are few."""
    with figure_style(name):
        figure = pyplot.figure(figsize=(4.8, 3.6))
        axes = figure.add_axes((0.02, 0.02, 0.74, 0.89))  # the same for any legend
        shades = colours(len(labels))
        for group, (colour, label) in enumerate(zip(shades, labels, strict=True)):
            chosen = points[groups == group]
            if len(chosen):
                x, y = chosen[:, 0], chosen[:, 1]
                axes.scatter(x, y, s=9, color=colour, label=label, linewidths=0, alpha=0.85)
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
        if len(labels) <= _MAX_LABELS:
            axes.legend(
                fontsize=7.5, markerscale=1.8, loc="center left", bbox_to_anchor=(1.01, 0.5)
            )
        return inline_svg(figure, title)


def latencies(branches: Sequence[Branch], candidates: dict[str, str]) -> str:
    """Whole-network time per call of every candidate, a bar per expert count, on a log scale.

    Args:
        candidates: {name: title}, from the top.
    """
    with figure_style("latency"):
        bars = len(candidates) * len(branches)
        figure, axes = pyplot.subplots(
            figsize=(4.8, 1.0 + 0.16 * bars + 0.12 * len(candidates)), layout="constrained"
        )
        height = 0.84 / len(branches)
        shades = colours(len(branches))
        for index, (branch, colour) in enumerate(zip(branches, shades, strict=True)):
            metrics = branch.metrics["benchmark"]
            values = [metrics.get(f"{name}_ms") or math.nan for name in candidates]
            shares = [metrics.get(f"{name}_share") for name in candidates]
            places = [p + (index - (len(branches) - 1) / 2) * height for p in range(len(values))]
            label = f"N = {branch.experts}"
            drawn = axes.barh(places, values, height * 0.9, color=colour, label=label)
            texts = [_time(*pair) for pair in zip(values, shares, strict=True)]
            axes.bar_label(drawn, texts, fontsize=7, padding=2)
        axes.set_yticks(range(len(candidates)), list(candidates.values()))
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.margins(x=0.35)
        axes.set_xlabel("ms per call (share of the limit)")
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        figure.legend(fontsize=8, loc="outside upper center", ncols=min(4, len(branches)))
        return inline_svg(figure, "Latency of the whole network, packed and its peers")


def _time(milliseconds: float, share: float | None) -> str:
    if math.isnan(milliseconds):
        return ""
    return f"{milliseconds:.3g}" + ("" if share is None else f" ({100 * share:.0f} %)")


def _bare(axes: Any) -> None:
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
