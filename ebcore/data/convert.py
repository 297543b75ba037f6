"""Stage `prepare`: a checked folder of images becomes .beton files and a manifest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from ebcore.data.folder import SPLITS, scan
from ebcore.data.inspection import InspectedImage, inspect
from ebcore.data.manifest import Manifest, Split
from ebcore.data.staging import replaced_folder
from ebcore.files import sha256_file
from ebcore.params import PrepareParams


def convert(
    folder: str | Path,
    out: str | Path,
    prepare: PrepareParams,
    loader: Literal["ffcv", "folder"],
    *,
    name: str,
    progress: bool = True,
) -> Manifest:
    """Checks every image of `folder`; writes `out`/manifest.json and, for FFCV, .beton files.

    Images keep the order of their sorted paths, and the same images give the same bytes. `out`
    appears whole or not at all.

    Raises:
        InputError: bad layout, damaged images, an image larger than a page, a full disk, or
            FFCV is not installed.
    """
    found = scan(folder)
    if loader == "ffcv":
        from ebcore.data.ffcv_compat import import_ffcv

        import_ffcv()  # missing: said before hours of checking
    inspection = inspect(found, prepare.on_corrupt, progress=progress)
    for path in inspection.skipped:
        print(f"skipped {found.root / path}: no whole image", flush=True)
    with replaced_folder(out) as partial:
        splits = {}
        for split in SPLITS:
            images = inspection.images[split]
            if loader == "ffcv":
                file = partial / f"{split}.beton"
                splits[split] = _write_split(file, found.root, images, prepare, progress)
            else:
                splits[split] = _list_split(images)
        red, green, blue = zip(inspection.mean, inspection.std, strict=True)
        manifest = Manifest(
            name=name,
            loader=loader,
            classes=found.classes,
            mean=(red[0], green[0], blue[0]),
            std=(red[1], green[1], blue[1]),
            splits=splits,
            skipped=inspection.skipped,
        )
        manifest.save(partial)
    return manifest


def _write_split(
    path: Path, root: Path, images: list[InspectedImage], prepare: PrepareParams, progress: bool
) -> Split:
    from ebcore.data.beton import beton_size, write_beton

    write_beton(path, root, images, prepare, progress=progress)
    sizes = [beton_size(image, prepare.max_size) for image in images]
    return Split(
        count=len(images),
        inputs_sha256=_inputs_sha256(images),
        height=_range([height for _, height in sizes]),
        width=_range([width for width, _ in sizes]),
        file=path.name,
        size=path.stat().st_size,
        sha256=sha256_file(path),
    )


def _list_split(images: list[InspectedImage]) -> Split:
    return Split(
        count=len(images),
        inputs_sha256=_inputs_sha256(images),
        height=_range([image.height for image in images]),
        width=_range([image.width for image in images]),
        files=[image.path for image in images],
    )


def _inputs_sha256(images: list[InspectedImage]) -> str:
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.path}\0{image.sha256}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _range(values: list[int]) -> tuple[int, int]:
    return min(values), max(values)
