"""TU-Berlin and Sketchy, as released, to folders in ImageNet layout (Hybrid Binary Networks).

    TU-Berlin   <class>/<number>.png                250 classes of 80 sketches
    Sketchy     <variant>/<class>/<photo>-<n>.png   125 classes, 75,471 sketches; one variant counts

Images are made grey, inverted (white lines on black) and scaled to 256 px on the shorter side, as
the released code does at every reading. Its split is not published: here each class is split by
itself, by a hash of seed and file name.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image, ImageOps

from ebcore.data.image import open_rgb
from ebcore.data.staging import replaced_folder
from ebcore.errors import InputError

SETS = {"tu-berlin": 250, "sketchy": 125}  # and their classes
SIDE = 256  # px
VAL_SHARE = 1 / 3  # as TU-Berlin's own three folds; our choice for both
_VARIANT = "tx_000000000000"  # Sketchy's: sketches as drawn, not moved or scaled


def import_sketches(
    name: str,
    source: str | Path,
    folder: str | Path,
    *,
    val_share: float = VAL_SHARE,
    seed: int = 0,
    side: int = SIDE,
) -> dict[str, int]:
    """Writes `train/<class>/*.JPEG` and `val/<class>/*.JPEG`, the same bytes each time.

    Args:
        name: a key of `SETS`.
        source: the unpacked archive, or the folder in it that holds the classes.
        folder: appears whole or not at all; one that exists is replaced.
        val_share: of each class, rounded, at least one image in each split.
        seed: of the split.
        side: px, shorter side of what is written.

    Returns:
        {"classes", "train", "val"}: how many.

    Raises:
        InputError: unknown name, a folder of another form, a damaged image, or a full disk.
    """
    if name not in SETS:
        raise InputError(f"sketches {name!r}", "are unknown", f"Choose from {', '.join(SETS)}.")
    if not 0 < val_share < 1:
        raise InputError(f"val_share {val_share}", "is no share", "Use more than 0, less than 1.")
    classes = _classes(name, Path(source))
    counts = {"classes": len(classes), "train": 0, "val": 0}
    with replaced_folder(folder) as out:
        for label, files in classes.items():
            chosen = _validation(files, val_share, seed)
            for file in files:
                split = "val" if file in chosen else "train"
                counts[split] += 1
                target = out / split / label / f"{file.stem}.JPEG"
                target.parent.mkdir(parents=True, exist_ok=True)
                _inverted(file, side).save(target, format="JPEG", quality=95)
    return counts


def _classes(name: str, source: Path) -> dict[str, list[Path]]:
    """The files of each class, sorted."""
    root = next(iter(sorted(source.rglob(_VARIANT))), source) if name == "sketchy" else source
    if (root / "png").is_dir():  # TU-Berlin's archive has the classes in it
        root = root / "png"
    if not root.is_dir():
        raise InputError(root, "no such folder", "Name the unpacked archive.")
    found = {
        entry.name: sorted(entry.glob("*.png"))
        for entry in sorted(root.iterdir())
        if entry.is_dir() and not entry.name.startswith(".")
    }
    short = [label for label, files in found.items() if len(files) < 2]
    if len(found) != SETS[name] or short:
        reason = f"has {len(found)} class folders where {name} has {SETS[name]}"
        if short:
            reason = f"class {short[0]!r} has fewer than 2 .png files"
        raise InputError(root, reason, "Name the unpacked archive, whole.")
    return found


def _validation(files: list[Path], share: float, seed: int) -> set[Path]:
    def rank(file: Path) -> str:
        return hashlib.sha256(f"{seed} {file.parent.name} {file.name}".encode()).hexdigest()

    count = min(max(1, round(len(files) * share)), len(files) - 1)
    return set(sorted(files, key=rank)[:count])


def _inverted(file: Path, side: int) -> Image.Image:
    grey = ImageOps.invert(open_rgb(file).convert("L"))
    scale = side / min(grey.size)
    size = (round(grey.width * scale), round(grey.height * scale))
    return grey.resize(size, Image.Resampling.BILINEAR)
