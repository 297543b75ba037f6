from __future__ import annotations

import numpy as np
import pytest
import torch

from ebcore.data.augment import View, _turn, centre_boxes, permutation, random_bits, uniform
from ebcore.params import DataParams


def _view(train: bool = True, seed: int = 3, **changes: object) -> View:
    fields = {"name": "x", "fetch": [], "folder": "x", "image_size": 4, **changes}
    return View(DataParams.model_validate(fields), seed=seed, train=train)


def test_hash_is_splitmix64() -> None:
    def mix(x: int) -> int:  # the published algorithm in plain integers
        mask = 2**64 - 1
        x = (x + 0x9E3779B97F4A7C15) & mask
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    assert mix(0) == 0xE220A8397B1DCDAF  # first output of the reference code for seed 0
    expected = mix(mix(mix(mix(0 ^ 7) ^ 2) ^ 1) ^ 41)
    assert int(random_bits(7, 2, np.array([41]), 1)[0]) == expected


def test_draws_depend_on_seed_epoch_index_and_draw() -> None:
    indices = np.arange(1000)
    base = uniform(1, 1, indices, 1)
    assert 0 <= base.min() < 0.01 < 0.99 < base.max() < 1
    assert abs(base.mean() - 0.5) < 0.03
    for other in (uniform(2, 1, indices, 1), uniform(1, 2, indices, 1), uniform(1, 1, indices, 2)):
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.1
    # A sample's draw does not depend on the batch it is in.
    assert np.array_equal(uniform(1, 1, indices[[7, 3]], 1), base[[7, 3]])


def test_permutation_holds_every_index_once() -> None:
    first, second = permutation(0, 0, 500), permutation(0, 1, 500)
    assert sorted(first) == list(range(500)) == sorted(second)
    assert (first != second).any()
    assert (first != np.arange(500)).any()


def test_centre_box_by_hand() -> None:
    # Shorter side 100 of 100x200: 100 * 224 / 256 = 87.5, to even 88; (100 - 88) / 2 = 6.
    boxes = centre_boxes(np.array([100]), np.array([200]), 224 / 256)
    assert boxes.tolist() == [[6, 56, 88, 88]]


def test_resized_boxes_lie_inside_and_keep_scale_and_ratio() -> None:
    view = _view(crop="resized", scale=(0.25, 0.5), ratio=(0.5, 2.0))
    n = 2000
    heights, widths = np.full(n, 300), np.full(n, 400)
    top, left, height, width = view.boxes(5, np.arange(n), heights, widths).T
    assert top.min() >= 0 and left.min() >= 0
    assert (top + height).max() <= 300 and (left + width).max() <= 400
    share = height * width / (300 * 400)
    assert 0.24 < share.min() < 0.26 and 0.49 < share.max() < 0.51
    ratio = width / height
    assert 0.49 < ratio.min() < 0.55 and 1.85 < ratio.max() < 2.02
    assert abs(np.log(ratio).mean()) < 0.1  # log-uniform
    assert abs((left / (400 - width + 1)).mean() - 0.5) < 0.03


def test_resized_box_that_never_fits_falls_back_to_the_widest_allowed() -> None:
    # 10 px high, 100 px wide, all of the area: no box of ratio <= 2 holds it.
    view = _view(crop="resized", scale=(1.0, 1.0), ratio=(0.5, 2.0))
    boxes = view.boxes(0, np.array([0]), np.array([10]), np.array([100]))
    assert boxes.tolist() == [[0, 40, 10, 20]]
    boxes = view.boxes(0, np.array([0]), np.array([100]), np.array([10]))
    assert boxes.tolist() == [[40, 0, 20, 10]]


def test_pad_moves_the_image_and_fills_with_zero() -> None:
    view = _view(crop="pad", pad=1)
    images = torch.arange(1.0, 17.0).reshape(1, 1, 4, 4).expand(50, 3, 4, 4)
    indices = np.arange(50)
    moved = view.move(images, 2, indices)
    shifts = view.shifts(2, indices)
    assert {tuple(s) for s in shifts} == {(y, x) for y in range(3) for x in range(3)}
    for image, (y, x) in zip(moved, shifts, strict=True):
        padded = np.zeros((6, 6))
        padded[1:5, 1:5] = np.arange(1, 17).reshape(4, 4)
        assert np.array_equal(image[0].numpy(), padded[y : y + 4, x : x + 4])


def test_flip_mirrors_the_chosen_half() -> None:
    view = _view(flip=True)
    pixels = torch.arange(4, dtype=torch.uint8)[:, None].repeat(200, 4, 1, 3)  # [B, S, S, 3]
    indices = np.arange(200)
    flips = view.flips(0, indices)
    assert 70 < flips.sum() < 130
    for image, flipped in zip(view.mirror(pixels, 0, indices), flips, strict=True):
        assert image[0, :, 0].tolist() == ([3, 2, 1, 0] if flipped else [0, 1, 2, 3])


def test_a_mirrored_image_has_the_mirrored_window() -> None:
    """As if the image were shifted first and flipped then."""
    view = _view(crop="pad", pad=1, flip=True)
    pixels = torch.randint(1, 255, (50, 4, 4, 3), dtype=torch.uint8)
    indices = np.arange(50)
    seen = view.mirror(pixels.clone(), 2, indices).permute(0, 3, 1, 2).float()
    flips, shifts = view.flips(2, indices), view.shifts(2, indices)
    for image, original, flipped, (y, x) in zip(
        view.move(seen, 2, indices), pixels, flips, shifts, strict=True
    ):
        padded = np.zeros((6, 6, 3))
        padded[1:5, 1:5] = original.numpy()
        window = padded[y : y + 4, x : x + 4]
        assert np.array_equal(image.permute(1, 2, 0), window[:, ::-1] if flipped else window)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_mirrors_the_same_images() -> None:
    view = _view(flip=True)
    pixels = torch.randint(0, 255, (50, 4, 4, 3), dtype=torch.uint8)
    on_gpu = view.mirror(pixels.cuda(), 3, np.arange(50)).cpu()
    assert torch.equal(on_gpu, view.mirror(pixels, 3, np.arange(50)))


def test_validation_is_not_augmented() -> None:
    view = _view(train=False, crop="pad", pad=1, flip=True)
    images = torch.randn(20, 3, 4, 4)
    assert torch.equal(view.move(images, 1, np.arange(20)), images)
    pixels = torch.randint(0, 255, (20, 4, 4, 3), dtype=torch.uint8)
    assert torch.equal(view.mirror(pixels.clone(), 1, np.arange(20)), pixels)
    assert view.whole


def test_a_quarter_turn_by_hand() -> None:
    # angle = (2 u - 1) x 90 degrees
    view = _view(rotate=90)
    indices = np.arange(40)
    angles = view.turns(3, indices)
    assert np.abs(angles).max() <= np.pi / 2 and angles.min() < -1 < 1 < angles.max()
    expected = (2 * uniform(3, 3, indices, 4) - 1) * np.pi / 2
    assert np.allclose(angles, expected)
    image = torch.arange(16.0).view(1, 1, 4, 4)
    quarter = torch.tensor([np.pi / 2, -np.pi / 2, 0.0])
    turned = _turn(image.repeat(3, 1, 1, 1), quarter)
    for got, times in zip(turned, (1, -1, 0), strict=True):
        assert torch.allclose(got, image[0].rot90(times, (1, 2)), atol=1e-5)


def test_turns_depend_on_the_image_alone_and_validation_has_none() -> None:
    images = torch.randn(6, 3, 4, 4)
    view = _view(rotate=10)
    whole = view.move(images, 2, np.arange(6))
    assert torch.equal(view.move(images[4:], 2, np.array([4, 5])), whole[4:])
    assert not torch.equal(whole, images)
    assert torch.equal(_view(train=False, rotate=10).move(images, 2, np.arange(6)), images)
    assert torch.equal(_view().move(images, 2, np.arange(6)), images)


def test_a_turn_repeats_the_edge() -> None:
    turned = _turn(torch.full((1, 1, 8, 8), 0.5), torch.tensor([0.7]))
    assert torch.allclose(turned, torch.full((1, 1, 8, 8), 0.5))
