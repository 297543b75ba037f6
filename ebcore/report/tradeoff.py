"""Accuracy against what a network costs, over the networks of all methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter, NullFormatter

from ebcore.report.labels import place_labels
from ebcore.report.page import scaled
from ebcore.report.papers import PAPERS
from ebcore.report.style import colours, figure_style, inline_svg


def accuracy_by_size(networks: Sequence[Mapping[str, Any]]) -> str:
    """Packed top-1 against the packed file's bytes, an inline <svg>."""
    costs = [row["pack"]["file_bytes"] for row in networks]
    return _plot(networks, costs, "packed file", "B")


def accuracy_by_operations(networks: Sequence[Mapping[str, Any]]) -> str:
    """Packed top-1 against an image's operations, a binary one as 1/64; an inline <svg>."""
    costs = [row["operations"] for row in networks]
    return _plot(networks, costs, "operations an image, real + binary / 64", "")


def _plot(
    networks: Sequence[Mapping[str, Any]], costs: Sequence[float], label: str, unit: str
) -> str:
    accuracies = [row["evaluate"]["packed_top1"] for row in networks]
    methods = list(dict.fromkeys(row["method"] for row in networks))
    with figure_style(f"tradeoff-{label}"):
        figure, axes = pyplot.subplots(figsize=(5.4, 3.9), layout="constrained")
        for method, colour in zip(methods, colours(len(methods)), strict=True):
            chosen = [i for i, row in enumerate(networks) if row["method"] == method]
            places = [costs[i] for i in chosen], [accuracies[i] for i in chosen]
            axes.scatter(*places, s=28, color=colour, label=PAPERS[method].name, zorder=3)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(pyplot.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: scaled(cost, unit)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(label)
        axes.set_ylabel("packed top-1, %")
        axes.grid(True)
        axes.set_axisbelow(True)
        axes.margins(x=0.18, y=0.12)
        figure.legend(fontsize=8, loc="outside upper center", ncols=len(methods))
        names = [row["variant"] for row in networks]
        place_labels(figure, axes, list(zip(costs, accuracies, names, strict=True)))
        return inline_svg(figure, f"Accuracy of every packed network by {label}")
