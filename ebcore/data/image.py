"""One image file to the network's input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ebcore.data.augment import View
from ebcore.errors import InputError
from ebcore.params import DataParams

CACHED = 1 << 20  # bytes, of a core's own cache


def open_rgb(path: str | Path) -> Image.Image:
    """Decodes a file.

    Raises:
        InputError: missing, damaged, or not an image.
    """
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    # Pillow raises many kinds for damaged files, struct.error and SyntaxError among them.
    except Exception as error:
        reason = getattr(error, "strerror", None) or (
            "not an image" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        )
        raise InputError(
            path, f"cannot be read ({reason})", "Give a whole JPEG or PNG file."
        ) from error


def crop_and_resize(picture: Image.Image, box: Sequence[int], size: int) -> np.ndarray:
    """The box (top, left, height, width) at `size` px, smoothly; uint8 [S, S, 3]."""
    top, left, height, width = (int(value) for value in box)
    # Not resize's own `box`: it blends in pixels from outside of the box.
    part = picture.crop((left, top, left + width, top + height))
    return np.asarray(part.resize((size, size), Image.Resampling.BILINEAR))


def read_view(path: str | Path, view: View, epoch: int, index: int) -> np.ndarray:
    """What `view` shows of a file before normalisation; uint8 [S, S, 3].

    Raises:
        InputError: as `open_rgb`, or the image is not S px and `view` resizes nothing.
    """
    picture, size = open_rgb(path), view.data.image_size
    if view.whole:
        if picture.size != (size, size):
            raise InputError(
                path,
                f"is {picture.width}x{picture.height} px where data.image_size is {size}",
                "Set data.resize.",
            )
        return np.asarray(picture)
    sides = (np.array([picture.height]), np.array([picture.width]))
    return crop_and_resize(picture, view.boxes(epoch, np.array([index]), *sides)[0], size)


def normalise(images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """uint8 [B, S, S, 3] to float32 [B, 3, S, S] in units of the training set's spread."""
    scale = 1 / (255 * torch.tensor(std, dtype=torch.float64))
    offset = -torch.tensor(mean, dtype=torch.float64) / torch.tensor(std, dtype=torch.float64)
    scale, offset = (v.float().to(images.device).view(1, 3, 1, 1) for v in (scale, offset))
    source = images.permute(0, 3, 1, 2)
    out = torch.empty(source.shape, dtype=torch.float32, device=images.device)
    # On a CPU so many images at a time that they stay in its cache: three passes, memory sees one.
    count = len(out) if images.is_cuda else max(1, CACHED // max(1, 4 * out[:1].numel()))
    for part, into in zip(source.split(count), out.split(count), strict=True):
        into.copy_(part).mul_(scale).add_(offset)
    return out


def load_image(
    path: str | Path, data: DataParams, mean: Sequence[float], std: Sequence[float]
) -> torch.Tensor:
    """The validation transform of one file; float32 [1, 3, S, S].

    Raises:
        InputError: missing, damaged, not an image, or of the wrong size without data.resize.
    """
    pixels = read_view(path, View(data, seed=0, train=False), 0, 0)
    return normalise(torch.from_numpy(pixels.copy())[None], mean, std)
