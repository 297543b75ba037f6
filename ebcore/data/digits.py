"""scikit-learn's handwritten digits: 1,797 real scans of 8x8 pixels, shipped with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

VAL_EVERY = 5  # every fifth scan of each class: 1,437 for training, 360 for validation


def write_digits(folder: Path, size: int) -> None:
    """Writes the scans, enlarged to `size` px, into `folder`/{train,val}/{0..9}/."""
    from sklearn.datasets import load_digits  # 1.5 s to import

    scans, labels = load_digits(return_X_y=True)  # [1797, 64] of 0..16
    pixels = np.rint(scans.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    # Sorted by class first, so that each class is split 4 : 1.
    for rank, index in enumerate(np.argsort(labels, kind="stable")):
        split = "val" if rank % VAL_EVERY == 0 else "train"
        target = folder / split / str(labels[index])
        target.mkdir(parents=True, exist_ok=True)
        scan = Image.fromarray(pixels[index]).resize((size, size), Image.Resampling.BICUBIC)
        scan.save(target / f"{index:04d}.JPEG", format="JPEG", quality=100)
