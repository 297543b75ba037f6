"""Class names with probabilities for image files, from a packed network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ebcore.data.image import load_image
from ebcore.errors import InputError
from ebcore.packed import load
from ebcore.params import DataParams


def predict_images(
    packed: str | Path, images: Sequence[Path], *, top: int, threads: int
) -> Iterator[tuple[Path, list[tuple[str, float]]]]:
    """(image, [(class, probability in 0..1), ...] best first, at most `top`) for each image.

    Raises:
        InputError: a packed file or image that is missing or damaged; missing ones are told before
            the first result.
    """
    model = load(packed)
    model.threads = threads
    about = model.metadata
    missing = {"classes", "mean", "std", "image_size"} - set(about)
    if missing:
        raise InputError(
            packed,
            f"does not say its {', '.join(sorted(missing))}",
            "Pack a checkpoint of this project's pipeline.",
        )
    for path in images:
        _check_is_file(path)
    # Images of any size: a network trained on images of one size knows no other resize.
    resize = about.get("resize") or about["image_size"]
    view = DataParams(name="", fetch=[], folder="", image_size=about["image_size"], resize=resize)
    for path in images:
        image = load_image(path, view, about["mean"], about["std"])
        probabilities, order = model(image)[0].softmax(0).sort(descending=True, stable=True)
        yield (
            path,
            [
                (about["classes"][index], float(p))
                for p, index in zip(probabilities[:top], order[:top].tolist(), strict=True)
            ],
        )


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        raise InputError(path, "is a folder", f"Give image files, such as {path}/*.jpg.")
    if not path.exists():
        raise InputError(path, "does not exist", "Give a JPEG or PNG file.")
