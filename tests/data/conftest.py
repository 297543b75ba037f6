"""Small image sets, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ebcore.params import DataParams


def write_images(
    root: Path,
    *,
    sizes: tuple[int, int] = (16, 16),
    counts: tuple[int, int] = (9, 4),
    classes: tuple[str, ...] = ("ant", "bee", "cat"),
) -> Path:
    """`counts` (train, val) images per class, sides between the two `sizes` in px."""
    random = np.random.default_rng(0)
    for split, count in zip(("train", "val"), counts, strict=True):
        for name in classes:
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                height, width = random.integers(sizes[0], sizes[1] + 1, 2)
                pixels = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                image = Image.fromarray(pixels).resize((int(width), int(height)))
                image.save(folder / f"{index}.JPEG", quality=95)
    return root


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """27 + 12 images of 16 px in three classes."""
    return write_images(tmp_path / "small")


@pytest.fixture(scope="session")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 40 to 90 px a side."""
    return write_images(tmp_path_factory.mktemp("varied") / "images", sizes=(40, 90))


@pytest.fixture
def data() -> Callable[..., DataParams]:
    """Makes data parameters, those of 16 px images by default."""

    def make(folder: Path, **changes: Any) -> DataParams:
        fields = {"name": "x", "fetch": [], "folder": str(folder), "image_size": 16, **changes}
        return DataParams(**fields)

    return make
