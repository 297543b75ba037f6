"""Folders of images in ImageNet layout: `train/<class>/*.JPEG`, `val/<class>/*.JPEG`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ebcore.errors import InputError

SPLITS = ("train", "val")
LAYOUT = "Images belong in train/<class>/ and val/<class>/."
NAMED = 5  # findings that an error spells out; the others are counted


@dataclass(frozen=True)
class FoundImage:
    """One file: its path relative to the data folder, in posix form, and its class index."""

    path: str
    label: int


@dataclass(frozen=True)
class ImageFolder:
    """The files of a data set, sorted by path; classes sorted by name."""

    root: Path
    classes: list[str]
    train: list[FoundImage]
    val: list[FoundImage]

    def split(self, name: str) -> list[FoundImage]:
        """The files of `train` or `val`."""
        return {"train": self.train, "val": self.val}[name]


def scan(folder: str | Path) -> ImageFolder:
    """Lists a data set; opens no image (`ebcore.data.inspection.inspect` does).

    Files directly in `train/` or `val/` and names that begin with a dot are passed over.

    Raises:
        InputError: missing folder, no or empty classes, classes that differ between the splits.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(
            root, "no such folder", "Set data.folder, or name a source in data.fetch. " + LAYOUT
        )
    classes = {split: _classes(root, split) for split in SPLITS}
    _require_same_classes(root, classes["train"], classes["val"])
    names = classes["train"]
    train, val = (_files(root, split, names) for split in SPLITS)
    return ImageFolder(root, names, train, val)


def _classes(root: Path, split: str) -> list[str]:
    folder = root / split
    if not folder.is_dir():
        others = [name for name in ("valid", "validation", "test") if (root / name).is_dir()]
        remedy = f"Rename {root / others[0]} to {split}." if split == "val" and others else LAYOUT
        raise InputError(folder, "no such folder", remedy)
    names = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))
    if not names:
        raise InputError(folder, "holds no class folders", LAYOUT)
    return names


def _require_same_classes(root: Path, train: list[str], val: list[str]) -> None:
    only_train, only_val = sorted(set(train) - set(val)), sorted(set(val) - set(train))
    if only_train or only_val:
        parts = [
            f"{first_few(names)} only in {split}/"
            for split, names in (("train", only_train), ("val", only_val))
            if names
        ]
        raise InputError(
            root,
            f"train and val hold different classes: {'; '.join(parts)}",
            "Give both splits the same class folders.",
        )


def _files(root: Path, split: str, classes: list[str]) -> list[FoundImage]:
    found: list[FoundImage] = []
    for label, name in enumerate(classes):
        paths = [
            Path(folder, file).relative_to(root).as_posix()
            for folder, _, files in os.walk(root / split / name, followlinks=True)
            for file in files
            if not file.startswith(".")
        ]
        if not paths:
            raise InputError(
                root / split / name, "the class is empty", "Add images, or remove it from both."
            )
        found.extend(FoundImage(path, label) for path in sorted(paths))
    return found


def first_few(names: list[str]) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
