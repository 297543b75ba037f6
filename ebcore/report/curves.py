"""Training curves as inline <svg>."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator

from ebcore.report.files import Row
from ebcore.report.style import colours, figure_style, inline_svg


def training_curves(
    rows_by_label: Mapping[str, list[Row]], title: str, name: str
) -> dict[str, str]:
    """A training's two figures: "accuracy", "loss" (training solid, validation dotted).

    Args:
        rows_by_label: the rows of plots/<stage>.csv, by legend text.
        name: their own among the page's figures.
    """
    accuracy, loss = {"val_top1": "-"}, {"train_loss": "-", "val_loss": ":"}
    return {
        "accuracy": _curve(rows_by_label, accuracy, title, "validation top-1, %", f"{name}-top1"),
        "loss": _curve(rows_by_label, loss, title, "loss", f"{name}-loss"),
    }


def _curve(
    rows_by_label: Mapping[str, list[Row]],
    columns: Mapping[str, str],
    title: str,
    ylabel: str,
    name: str,
) -> str:
    """Epoch curves: a colour per label, a line style per column.

    Args:
        rows_by_label: the rows of plots/<stage>.csv, by legend text.
        columns: {column of the CSV: line style}.
    """
    with figure_style(name):
        figure, axes = pyplot.subplots(figsize=(4.2, 2.8), layout="constrained")
        shades = colours(len(rows_by_label))
        for colour, (label, rows) in zip(shades, rows_by_label.items(), strict=True):
            epochs = [float(row["epoch"]) for row in rows]
            for index, (column, style) in enumerate(columns.items()):
                values = [float(row[column]) for row in rows]
                text = label if index == 0 and label else None
                axes.plot(epochs, values, style, color=colour, label=text)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.set_ylabel(ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
        if any(rows_by_label):
            axes.legend(fontsize=8)
        return inline_svg(figure, f"{title}: {ylabel} by epoch")
