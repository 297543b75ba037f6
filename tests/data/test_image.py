from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ebcore.data.image import load_image, normalise
from ebcore.errors import InputError
from ebcore.params import DataParams

Make = Callable[..., DataParams]
MEAN, STD = (0.5, 0.25, 0.0), (0.5, 0.25, 1.0)


def test_normalise_by_hand() -> None:
    pixels = torch.tensor([255, 0, 51], dtype=torch.uint8).reshape(1, 1, 1, 3)
    # (1 - 0.5) / 0.5 = 1; (0 - 0.25) / 0.25 = -1; (0.2 - 0) / 1 = 0.2
    assert torch.allclose(normalise(pixels, MEAN, STD).flatten(), torch.tensor([1, -1, 0.2]))


def test_one_file(tmp_path: Path, data: Make) -> None:
    # 20 rows of 40: the centre square of 20 * 8 / 10 = 16 px, columns 12 to 28, is white.
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 12:28] = 255
    Image.fromarray(pixels).save(tmp_path / "x.png")
    image = load_image(tmp_path / "x.png", data(tmp_path, image_size=8, resize=10), MEAN, STD)
    assert image.shape == (1, 3, 8, 8) and image.dtype == torch.float32
    assert torch.allclose(image, torch.tensor([1.0, 3.0, 1.0]).view(1, 3, 1, 1).expand_as(image))


@pytest.mark.parametrize("content", [None, b"", b"no image"])
def test_no_image(tmp_path: Path, data: Make, content: bytes | None) -> None:
    path = tmp_path / "x.JPEG"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.JPEG: cannot be read .*JPEG or PNG"):
        load_image(path, data(tmp_path), MEAN, STD)


def test_wrong_size_without_resize(tmp_path: Path, data: Make) -> None:
    Image.new("RGB", (17, 16)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"17x16 px where data\.image_size is 16.*data\.resize"):
        load_image(tmp_path / "x.png", data(tmp_path), MEAN, STD)
