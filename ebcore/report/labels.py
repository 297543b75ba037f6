"""Names beside the points of a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.transforms import Bbox

# Where a label may stand, points from its own: to the right first, then around, then further.
_PLACES = [
    (dx * reach, dy * reach, side)
    for reach in (1, 2, 3.5, 5)
    for dx, dy, side in (
        (5, 0, "left"), (5, 6, "left"), (5, -6, "left"), (0, 8, "center"), (0, -8, "center"),
        (-5, 0, "right"), (-5, 6, "right"), (-5, -6, "right"),
    )
]  # fmt: skip


def place_labels(figure: Any, axes: Any, labels: Sequence[tuple[float, float, str]]) -> None:
    """Writes names beside their points (x, y, name), where they cover least of what is there."""
    figure.draw_without_rendering()  # fixes the layout that the boxes are measured in
    pixels = axes.transData.transform([(x, y) for x, y, _ in labels])
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in pixels]
    for x, y, name in labels:
        text = axes.annotate(
            name, (x, y), (0, 0), textcoords="offset points", fontsize=7, va="center_baseline"
        )
        best = min(_PLACES, key=lambda place: _cost(text, place, taken, axes.bbox))
        _move(text, best)
        taken.append(text.get_window_extent())


def _cost(text: Any, place: tuple[float, float, str], taken: Sequence[Bbox], inside: Bbox) -> float:
    """Covered area in px^2, with what sticks out of the axes."""
    _move(text, place)
    box = text.get_window_extent()
    covered = sum(_area(Bbox.intersection(box, other)) for other in taken)
    return covered + _area(box) - _area(Bbox.intersection(box, inside))


def _move(text: Any, place: tuple[float, float, str]) -> None:
    text.xyann = place[:2]
    text.set_horizontalalignment(place[2])


def _area(box: Bbox | None) -> float:
    return 0.0 if box is None else float(box.width * box.height)
