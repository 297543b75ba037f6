"""How figures look, and how matplotlib's SVG becomes part of a page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

# Wong's palette: told apart by colour-blind readers, and readable on white and on dark.
PALETTE = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#8c6bb1",
    "#b8a800",
    "#7f7f7f",
    "#a65628",
)
_INK = "#010203"  # stands for the page's text colour until the figure is inlined
_SETTINGS = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    **{
        key: _INK
        for key in (
            "text.color",
            "axes.labelcolor",
            "axes.edgecolor",
            "axes.titlecolor",
            "xtick.color",
            "ytick.color",
            "grid.color",
        )
    },
}


@contextmanager
def figure_style(name: str) -> Iterator[None]:
    """Settings for one figure; `name` makes the ids inside its SVG its own on the page."""
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        yield


def colours(count: int) -> list[Any]:
    """`count` colours to tell apart: the palette, or a rainbow where it is too short."""
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    rainbow = matplotlib.colormaps["turbo"]
    return [matplotlib.colors.to_hex(rainbow((i + 0.5) / count)) for i in range(count)]


def inline_svg(figure: Any, label: str) -> str:
    """The figure as an <svg> element: no prolog, no date, no links, in the page's text colour.

    Equal figures give equal bytes.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    # The page scales the figure; these would fix it in points.
    text = re.sub(r'(<svg[^>]*?)\s+width="([\d.]+)pt"', _keep_width, text, count=1)
    text = re.sub(r'(<svg[^>]*?)\s+height="[^"]*"', r"\1", text, count=1)
    text = text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    text = re.sub(
        r'id="((?:figure|axes|patch|text|line2d|xtick|ytick|matplotlib)[^"]*)"\s*', "", text
    )
    return text.replace(_INK, "currentColor").replace("xlink:href", "href")


def standalone(svg: str) -> str:
    """What `inline_svg` gave as a file of its own."""
    return svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1) + "\n"


def _keep_width(match: re.Match[str]) -> str:
    width = round(float(match.group(2)) * 4 / 3)  # pt to CSS px
    return f'{match.group(1)} style="max-width:{width}px"'
