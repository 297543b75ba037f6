"""The figure of the page of Hybrid Binary Networks, an inline <svg>."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import pyplot
from matplotlib.patches import Patch

from ebcore.report.style import PALETTE, figure_style, inline_svg

_BINARY, _REAL = PALETTE[0], PALETTE[1]
_LIGHT = 0.45  # opacity of the operations' part


def partition_bars(choices: Mapping[int, Mapping[str, Any]]) -> str:
    """The metric of each layer by seed: binarization error and, above it, the operations' part.

    Args:
        choices: by seed; each with chosen and layers_measured.
    """
    with figure_style("partition"):
        count = len(choices)
        figure, grid = pyplot.subplots(
            1, count, figsize=(1.0 + 3.3 * count, 3.2), squeeze=False, sharey=True,
            layout="constrained",
        )  # fmt: skip
        for axes, (seed, choice) in zip(grid.flat, choices.items(), strict=True):
            _bars(axes, choice["layers_measured"])
            axes.set_title(f"seed {seed}: {_listed(choice['chosen'])}")
            axes.set_xlabel("layer")
        grid.flat[0].set_ylabel("metric M")
        figure.legend(
            handles=[
                Patch(color=_REAL, label="chosen: real inputs"),
                Patch(color=_BINARY, label="binary inputs"),
                Patch(color="#7f7f7f", label="error E"),
                Patch(color="#7f7f7f", alpha=_LIGHT, label="gamma / NF"),
            ],
            fontsize=8,
            loc="outside upper center",
            ncols=4,
        )
        return inline_svg(figure, "Metric of each layer; the chosen layers keep real inputs")


def _bars(axes: Any, layers: Sequence[Mapping[str, Any]]) -> None:
    numbers = [layer["layer"] for layer in layers]
    shades = [_REAL if layer["real_input"] else _BINARY for layer in layers]
    errors = [layer["error"] for layer in layers]
    rest = [layer["metric"] - layer["error"] for layer in layers]
    axes.bar(numbers, errors, color=shades)
    axes.bar(numbers, rest, bottom=errors, color=shades, alpha=_LIGHT)
    axes.set_xticks(numbers, [str(number) for number in numbers], fontsize=7)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _listed(chosen: Sequence[int]) -> str:
    return "layer" + "s" * (len(chosen) != 1) + " " + ", ".join(map(str, chosen))
