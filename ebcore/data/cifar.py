"""CIFAR-10 and CIFAR-100 through torchvision, which downloads and checks the archives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from ebcore.errors import InputError


def write_cifar(name: str, folder: Path, archives: Path) -> None:
    """Writes `folder`/{train,val}/<class>/, 32x32 px; CIFAR's test images are `val`.

    Raises:
        InputError: no archive in `archives` and none to be had from the network.
    """
    for split in ("train", "val"):
        images = _open(name, archives, train=split == "train")
        folders = [folder / split / label for label in images.classes]
        for target in folders:
            target.mkdir(parents=True, exist_ok=True)
        pairs = zip(images.data, images.targets, strict=True)
        for index, (pixels, label) in enumerate(pairs):  # pixels: uint8 [32, 32, 3]
            Image.fromarray(pixels).save(
                folders[label] / f"{index:05d}.JPEG", format="JPEG", quality=100, subsampling=0
            )


def _open(name: str, archives: Path, *, train: bool) -> Any:
    from ebcore.torchvision_compat import torchvision

    kind = {"cifar10": torchvision.datasets.CIFAR10, "cifar100": torchvision.datasets.CIFAR100}
    archives.mkdir(parents=True, exist_ok=True)
    try:
        # torchvision compares the archive and its members with fixed checksums before reading.
        return kind[name](root=str(archives), train=train, download=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            name,
            f"cannot be downloaded ({error})",
            f"Put the archive into {archives}, or name a folder with train/<class>/*.JPEG and"
            " val/<class>/*.JPEG in data.folder and set data.fetch: [].",
        ) from error
