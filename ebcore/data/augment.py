"""Augmentation as a pure function of (seed, epoch, sample index): both loaders share it.

Nothing here keeps state, so neither the number of workers nor a restart changes an image.
Legend: B images, S px side of the network's input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ebcore.params import DataParams

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
ORDER, FLIP, SHIFT_Y, SHIFT_X, TURN, CROP = 0, 1, 2, 3, 4, 16  # numbers of the draws
CROP_ATTEMPTS = 10

Ints = NDArray[np.int64]


def _splitmix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Steele et al. 2014, "Fast splittable pseudorandom number generators"; wraps at 64 bits."""
    x = x + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


def random_bits(seed: int, epoch: int, indices: Ints, draw: int) -> NDArray[np.uint64]:
    """64 random bits per sample, uint64 [B]."""
    bits = np.zeros(len(indices), np.uint64)
    for part in (seed, epoch, draw):
        bits = _splitmix(bits ^ np.uint64(part))
    return _splitmix(bits ^ np.asarray(indices).astype(np.uint64))


def uniform(seed: int, epoch: int, indices: Ints, draw: int) -> NDArray[np.float64]:
    """One number in [0, 1) per sample, float64 [B]."""
    return (random_bits(seed, epoch, indices, draw) >> np.uint64(11)) * np.float64(2.0**-53)


def permutation(seed: int, epoch: int, count: int) -> Ints:
    """The order of an epoch's samples, int64 [count]."""
    return np.argsort(random_bits(seed, epoch, np.arange(count), ORDER), kind="stable")


def centre_boxes(heights: Ints, widths: Ints, share: float) -> Ints:
    """Centred squares of `share` times the shorter side: top, left, height, width; int64 [B, 4]."""
    side = np.maximum(np.rint(np.minimum(heights, widths) * share).astype(np.int64), 1)
    return np.stack([(heights - side) // 2, (widths - side) // 2, side, side], axis=1)


def resized_boxes(
    data: DataParams, seed: int, epoch: int, indices: Ints, heights: Ints, widths: Ints
) -> Ints:
    """torchvision's RandomResizedCrop: top, left, height, width in px; int64 [B, 4].

    Ten attempts at an area (`data.scale`) and a ratio (`data.ratio`, log-uniform) that fit; else
    the largest centred box within the ratios.
    """
    low, high = data.ratio
    boxes = _fallback_boxes(heights, widths, low, high)
    open_ = np.ones(len(indices), bool)
    for attempt in range(CROP_ATTEMPTS):
        u = [uniform(seed, epoch, indices, CROP + 4 * attempt + k) for k in range(4)]
        area = heights * widths * (data.scale[0] + u[0] * (data.scale[1] - data.scale[0]))
        ratio = np.exp(np.log(low) + u[1] * (np.log(high) - np.log(low)))
        w = np.rint(np.sqrt(area * ratio)).astype(np.int64)
        h = np.rint(np.sqrt(area / ratio)).astype(np.int64)
        fits = open_ & (w > 0) & (w <= widths) & (h > 0) & (h <= heights)
        top = np.floor(u[2] * (heights - h + 1)).astype(np.int64)
        left = np.floor(u[3] * (widths - w + 1)).astype(np.int64)
        boxes[fits] = np.stack([top, left, h, w], axis=1)[fits]
        open_ &= ~fits
    return boxes


def _fallback_boxes(heights: Ints, widths: Ints, low: float, high: float) -> Ints:
    ratio = widths / heights
    h = np.where(ratio < low, np.rint(widths / low), heights).astype(np.int64)
    w = np.where(ratio > high, np.rint(heights * high), widths).astype(np.int64)
    return np.stack([(heights - h) // 2, (widths - w) // 2, h, w], axis=1)


@dataclass(frozen=True)
class View:
    """How the images of a split are seen: one object, used by both loaders."""

    data: DataParams
    seed: int
    train: bool

    @property
    def whole(self) -> bool:
        """Whether stored images are taken whole, being S px already."""
        return self.data.resize is None and not (self.train and self.data.crop == "resized")

    def boxes(self, epoch: int, indices: Ints, heights: Ints, widths: Ints) -> Ints:
        """The part of each image that is resized to S x S px; int64 [B, 4] as `centre_boxes`.

        Validation's "shorter side to `resize`, then the centre" is one crop of the source, as
        in FFCV; training without crop: resized begins with the same.
        """
        if self.train and self.data.crop == "resized":
            return resized_boxes(self.data, self.seed, epoch, indices, heights, widths)
        share = self.data.image_size / (self.data.resize or self.data.image_size)
        return centre_boxes(heights, widths, share)

    def shifts(self, epoch: int, indices: Ints) -> Ints:
        """For crop: pad, top and left of the window in the padded image; int64 [B, 2]."""
        steps = 2 * self.data.pad + 1
        draws = [uniform(self.seed, epoch, indices, draw) for draw in (SHIFT_Y, SHIFT_X)]
        return np.floor(np.stack(draws, axis=1) * steps).astype(np.int64)

    def flips(self, epoch: int, indices: Ints) -> NDArray[np.bool_]:
        """Which images are mirrored left to right; bool [B]."""
        if not (self.train and self.data.flip):
            return np.zeros(len(indices), bool)
        return uniform(self.seed, epoch, indices, FLIP) < 0.5

    def turns(self, epoch: int, indices: Ints) -> NDArray[np.float64]:
        """By how much each image is turned, in radians; float64 [B]."""
        share = 2 * uniform(self.seed, epoch, indices, TURN) - 1
        return np.deg2rad(self.data.rotate) * share

    def mirror(self, pixels: torch.Tensor, epoch: int, indices: Ints) -> torch.Tensor:
        """Flips, before normalisation: a quarter of the bytes; uint8 [B, S, S, 3], maybe changed.

        A tensor on the CPU changes in place, an image at a time, which its cache holds.
        """
        flips = self.flips(epoch, indices)
        if pixels.device.type == "cpu":
            for index in np.flatnonzero(flips).tolist():
                pixels[index] = pixels[index].flip(1)
        elif flips.any():
            chosen = torch.from_numpy(flips).to(pixels.device)[:, None, None, None]
            pixels = torch.where(chosen, pixels.flip(2), pixels)
        return pixels

    def move(self, images: torch.Tensor, epoch: int, indices: Ints) -> torch.Tensor:
        """The padded image's window, then the turn, of mirrored and normalised images.

        Images are float32 [B, 3, S, S]. Padding is 0 after normalisation: the training set's mean
        colour. A mirrored image has the mirrored window: it shows what shifting first and
        flipping then would.
        """
        if not self.train:
            return images
        if self.data.crop == "pad" and self.data.pad:
            shifts = self.shifts(epoch, indices)
            mirrored = self.flips(epoch, indices)
            shifts[mirrored, 1] = 2 * self.data.pad - shifts[mirrored, 1]
            images = _shift(images, self.data.pad, torch.from_numpy(shifts))
        if self.data.rotate:
            images = _turn(images, torch.from_numpy(self.turns(epoch, indices)))
        return images


def _shift(images: torch.Tensor, pad: int, shifts: torch.Tensor) -> torch.Tensor:
    """Each image's own S x S window of its padded self."""
    size, device = images.shape[-1], images.device
    padded = torch.nn.functional.pad(images, (pad, pad, pad, pad))
    steps = torch.arange(size, device=device)
    rows, columns = (shifts.to(device)[:, k, None] + steps for k in range(2))  # [B, S]
    batch = torch.arange(len(images), device=device)[:, None, None]
    window = padded[batch, :, rows[:, :, None], columns[:, None, :]]  # [B, S, S, 3]
    return window.permute(0, 3, 1, 2).contiguous()


def _turn(images: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Each image turned about its centre, bilinear; what comes in from outside repeats the edge."""
    cos, sin, zero = torch.cos(angles), torch.sin(angles), torch.zeros_like(angles)
    rows = torch.stack([cos, -sin, zero, sin, cos, zero], 1).view(-1, 2, 3).float()
    grid = torch.nn.functional.affine_grid(
        rows.to(images.device), list(images.shape), align_corners=False
    )
    return torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
