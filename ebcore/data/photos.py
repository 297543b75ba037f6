"""Made-up pictures with the sides and file sizes of ImageNet's, for measuring without ImageNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ebcore.data.folder import SPLITS

SIDES = ((500, 375), (500, 333), (375, 500), (500, 375))  # width, height in px
QUALITY = 93  # with the noise below: about 115 kB a file, ImageNet's mean


def write_photos(root: Path, *, classes: int, train: int, val: int, seed: int = 0) -> None:
    """Writes `train` and `val` JPEG files per class into `root` in ImageNet layout.

    Smooth noise at all scales, weaker at finer ones, as in photographs; the same bytes each time.
    """
    for split, count in zip(SPLITS, (train, val), strict=True):
        for label in range(classes):
            folder = root / split / f"n{label:08d}"
            folder.mkdir(parents=True)
            for index in range(count):
                random = np.random.default_rng((seed, SPLITS.index(split), label, index))
                picture = _photo(random, SIDES[index % len(SIDES)])
                picture.save(folder / f"{index:05d}.JPEG", quality=QUALITY)


def _photo(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    width, height = size
    total = np.full((height, width, 3), 120, np.float32)
    for cells in (4, 8, 16, 32, 64, 128, 256):
        noise = random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        layer = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
        total += (np.asarray(layer, np.float32) - 128) * (2.4 / cells**0.3)
    return Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))
