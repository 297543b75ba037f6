"""Ten-crop evaluation: centre and corners, each mirrored too; log-probabilities are averaged."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ebcore.errors import InputError
from ebcore.measure.accuracy import hits, percent


def ten_crops(images: Tensor, size: int) -> Tensor:
    """Centre, top left, top right, bottom left, bottom right; then the same of the mirrored image.

    Args:
        images: [B, C, H, W].
        size: px, side of a crop.

    Returns:
        [B, 10, C, size, size].

    Raises:
        InputError: the images are smaller than a crop.
    """
    height, width = images.shape[2:]
    if min(height, width) < size:
        raise InputError(
            f"images of {width}x{height} px",
            f"are smaller than crops of {size}",
            "Give larger images.",
        )
    down, across = height - size, width - size
    # Half pixels as torchvision's CenterCrop rounds them.
    places = [(round(down / 2), round(across / 2)), (0, 0), (0, across), (down, 0), (down, across)]
    crops = [
        view[:, :, top : top + size, left : left + size]
        for view in (images, images.flip(3))
        for top, left in places
    ]
    return torch.stack(crops, 1)


def ten_crop_log_probabilities(model: nn.Module, images: Tensor, size: int) -> Tensor:
    """Mean over an image's ten crops of log softmax: [B, K]; the model in the mode it is in."""
    crops = ten_crops(images, size)
    with torch.inference_mode():
        logits = model(crops.flatten(0, 1))
    return logits.log_softmax(1).view(len(images), 10, -1).mean(1)


def ten_crop_accuracy(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], size: int
) -> dict[str, float]:
    """{"top1", "top5"} in percent, and "images".

    Args:
        batches: images [B, C, H, W], normalised and larger than `size`; labels int64 [B].

    Raises:
        InputError: no images, or images smaller than a crop.
    """
    first, fifth = [], []
    model.eval()
    for images, labels in batches:
        found = ten_crop_log_probabilities(model, images, size)
        first.append(hits(found, labels, 1))
        fifth.append(hits(found, labels, 5))
    if not first:
        raise InputError("ten-crop evaluation", "has no images", "Give at least one batch.")
    return {
        "top1": percent(torch.cat(first)),
        "top5": percent(torch.cat(fifth)),
        "images": float(sum(len(part) for part in first)),
    }
