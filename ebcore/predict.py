"""Class names with probabilities for image files, from a packed network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ebcore.data.image import load_image
from ebcore.packed import load


def predict_images(
    packed: str | Path, images: Sequence[Path], *, top: int, threads: int
) -> Iterator[tuple[Path, list[tuple[str, float]]]]:
    """(image, [(class, probability in 0..1), ...] best first, at most `top`) for each image.

    Raises:
        InputError: a packed file or image that is missing or damaged.
    """
    model = load(packed)
    model.threads = threads
    about = model.metadata
    for path in images:
        image = load_image(
            path,
            image_size=about["image_size"],
            resize=about["resize"],
            mean=about["mean"],
            std=about["std"],
        )
        probabilities, order = model(image)[0].softmax(0).sort(descending=True, stable=True)
        yield (
            path,
            [
                (about["classes"][index], float(p))
                for p, index in zip(probabilities[:top], order[:top].tolist(), strict=True)
            ],
        )
