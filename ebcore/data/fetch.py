"""Public image sets, written as folders in ImageNet layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ebcore.data.cifar import write_cifar
from ebcore.data.digits import write_digits
from ebcore.data.sketches import write_sketches
from ebcore.data.staging import replaced_folder
from ebcore.errors import InputError

SOURCES = ("digits", "sketches", "cifar10", "cifar100")
SIZES = {"digits": 16, "sketches": 32}  # px


def fetch(name: str, folder: str | Path, *, size: int | None = None) -> None:
    """Writes a source as `train/<class>/*.JPEG` and `val/<class>/*.JPEG`, same bytes each time.

    Args:
        name: one of `SOURCES`.
        folder: appears whole or not at all; one that exists is replaced.
        size: px, side of the square images; None is that of `SIZES`. CIFAR's are 32 px.

    Raises:
        InputError: unknown source, no network, or the disk refuses the data.
    """
    folder = Path(folder)
    side = size or SIZES.get(name, 0)
    writers: dict[str, Callable[[Path], None]] = {
        "digits": lambda out: write_digits(out, side),
        "sketches": lambda out: write_sketches(out, side),
        # The archives stay beside the folder: a second fetch needs no network.
        "cifar10": lambda out: write_cifar("cifar10", out, folder.parent / "archives"),
        "cifar100": lambda out: write_cifar("cifar100", out, folder.parent / "archives"),
    }
    if name not in writers:
        raise InputError(
            "data.fetch", f"unknown source {name!r}", f"Choose from {', '.join(SOURCES)}."
        )
    with replaced_folder(folder) as out:
        writers[name](out)
