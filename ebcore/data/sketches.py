"""Line drawings made on the spot, as a hand might draw them: eight classes, black on white."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Points = NDArray[np.float64]  # [P, 2]: x to the right and y down, the drawing within -1 to 1

TRAIN, VAL = 120, 30  # drawings of each class
_FINER = 4  # drawn so many times larger, then made small
_LINE = 0.07  # width of a stroke, in sides of the image
_STEP = 0.25  # the hand corrects its course after so much of the unit above
_TURN, _SHAKE = np.deg2rad(15), 0.03


def write_sketches(folder: Path, size: int) -> None:
    """Writes `folder`/{train,val}/<class>/ in images of `size` px, the same bytes each time."""
    for label, name in enumerate(DRAWINGS):
        for index in range(TRAIN + VAL):
            split = "train" if index < TRAIN else "val"
            target = folder / split / name
            target.mkdir(parents=True, exist_ok=True)
            image = draw(name, size, np.random.default_rng([label, index]))
            image.save(target / f"{index:04d}.JPEG", format="JPEG", quality=100)


def draw(name: str, size: int, hand: np.random.Generator) -> Image.Image:
    """One drawing of a class of `DRAWINGS`, `size` px, grey: 0 on 255."""
    angle, side = hand.uniform(-_TURN, _TURN), size * _FINER
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    scale = hand.uniform(0.55, 0.8, 2) * side / 2
    centre = side / 2 + hand.uniform(-0.1, 0.1, 2) * side
    image = Image.new("L", (side, side), 255)
    pen = ImageDraw.Draw(image)
    for stroke in DRAWINGS[name]:
        path = _fine(stroke)
        path = (path + hand.normal(0, _SHAKE, path.shape)) @ turn.T * scale + centre
        pen.line([tuple(point) for point in path], 0, max(1, round(_LINE * side)), "curve")
    return image.resize((size, size), Image.Resampling.BOX)


def _fine(stroke: Points) -> Points:
    """The stroke with points at most `_STEP` apart."""
    parts = [stroke[:1]]
    for begin, end in pairwise(stroke):
        pieces = max(1, int(np.ceil(np.hypot(*(end - begin)) / _STEP)))
        parts.append(begin + (end - begin) * np.arange(1, pieces + 1)[:, None] / pieces)
    return np.concatenate(parts)


def _line(*points: tuple[float, float]) -> Points:
    return np.array(points, np.float64)


def _around(corners: int, radii: tuple[float, ...] = (1.0,)) -> Points:
    """A closed stroke over `corners` directions, the first one up, at these radii in turn."""
    angle = np.arange(corners + 1) / corners * 2 * np.pi
    radius = np.resize(radii, corners + 1)
    radius[-1] = radius[0]
    return np.stack([radius * np.sin(angle), -radius * np.cos(angle)], 1)


def _spiral() -> Points:
    angle = np.linspace(0, 5 * np.pi, 40)
    radius = np.linspace(0.1, 1, 40)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


DRAWINGS: dict[str, list[Points]] = {
    "arrow": [_line((-1, 0), (1, 0)), _line((0.4, -0.5), (1, 0), (0.4, 0.5))],
    "circle": [_around(24)],
    "cross": [_line((-0.9, -0.9), (0.9, 0.9)), _line((0.9, -0.9), (-0.9, 0.9))],
    "house": [
        _line((-0.8, 1), (-0.8, -0.1), (0.8, -0.1), (0.8, 1), (-0.8, 1)),
        _line((-1, -0.05), (0, -1), (1, -0.05)),
    ],
    "spiral": [_spiral()],
    "square": [_line((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9), (-0.9, -0.9))],
    "star": [_around(10, (1.0, 0.4))],
    "triangle": [_around(3)],
}
