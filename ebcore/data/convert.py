"""Stage `prepare`: a checked folder of images becomes .beton files and a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from PIL import Image

from ebcore.data.estimate import (
    beton_bytes,
    file_bytes,
    free_bytes,
    gigabytes,
    require_space,
)
from ebcore.data.folder import SPLITS, ImageFolder, scan
from ebcore.data.inspection import InspectedImage, inspect
from ebcore.data.journal import Journal, digest
from ebcore.data.manifest import MANIFEST, Manifest, Split
from ebcore.data.progress import Phase
from ebcore.data.staging import partial_folder, replaced_folder
from ebcore.files import sha256_file
from ebcore.params import PrepareParams

RESUME_FROM = 5000  # images; fewer are done in less time than it takes to look what is left
FINISHED = "finished"  # key of a journal's last line


def convert(
    folder: str | Path,
    out: str | Path,
    prepare: PrepareParams,
    loader: Literal["ffcv", "folder"],
    *,
    name: str,
    progress: bool = True,
    on_phase: Callable[[Phase], None] = print,
) -> Manifest:
    """Checks every image of `folder`; writes `out`/manifest.json and, for FFCV, .beton files.

    Images keep the order of their sorted paths, and the same images give the same bytes. `out`
    appears whole or not at all. With `RESUME_FROM` images or more, what a process that ended
    early has done stays beside `out`, and the next goes on from there.

    Args:
        on_phase: gets the rate of each pass, unless `progress` is false.

    Raises:
        InputError: bad layout, damaged images, an image larger than a page, a disk too small or
            full, another process doing the same, or FFCV is not installed.
    """
    found = scan(folder)
    if loader == "ffcv":
        from ebcore.data.ffcv_compat import import_ffcv

        import_ffcv()  # missing: said before hours of checking
    resume = len(found.train) + len(found.val) >= RESUME_FROM
    if resume and loader == "ffcv":
        _require_space(found, partial_folder(out), prepare)
    with replaced_folder(out, resume=resume) as partial:
        with Journal(partial / "check.journal", digest(1, Image.__version__)) as journal:
            inspection = inspect(
                found,
                prepare.on_corrupt,
                journal=journal if resume else None,
                progress=progress,
                on_phase=on_phase,
            )
        for skipped in inspection.skipped:
            print(f"skipped {found.root / skipped}: no whole image", flush=True)
        splits = {}
        for split in SPLITS:
            images = inspection.images[split]
            if loader == "ffcv":
                file = partial / f"{split}.beton"
                splits[split] = _write_split(file, found.root, images, prepare, progress, on_phase)
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
        kept = {MANIFEST, *(split.file for split in splits.values())}
        for file in partial.iterdir():  # journals, and what a run for the other loader left
            if file.name not in kept:
                file.unlink()
    return manifest


def _require_space(found: ImageFolder, partial: Path, prepare: PrepareParams) -> None:
    """Refuses before hours of work what the disk cannot hold in the end."""
    paths = (found.root / image.path for split in SPLITS for image in found.split(split))
    size = sum(map(file_bytes, paths))
    count = len(found.train) + len(found.val)
    written = sum(path.stat().st_size for path in partial.glob("*.beton"))
    needed = beton_bytes(count, size, prepare) - written
    print(
        f"{count:,} images, {gigabytes(size)}; their .beton files take about {gigabytes(needed)}"
        + (f" beside {gigabytes(written)} that are written" if written else "")
        + f"; {gigabytes(free_bytes(partial))} free",
        flush=True,
    )
    require_space(partial.parent, needed, f"what is made of {found.root}")


def _write_split(
    path: Path,
    root: Path,
    images: list[InspectedImage],
    prepare: PrepareParams,
    progress: bool,
    on_phase: Callable[[Phase], None],
) -> Split:
    from ebcore.data.beton import beton_size, write_beton

    inputs = _inputs_sha256(images)
    versions = [Image.__version__, version("ffcv")]
    settings = prepare.model_dump(mode="json", exclude={"on_corrupt"})
    with Journal(path.with_suffix(".journal"), digest(1, inputs, settings, versions)) as journal:
        if journal.lines and FINISHED in journal.lines[-1]:
            return Split.model_validate(journal.lines[-1][FINISHED])
        write_beton(
            path, root, images, prepare, journal=journal, progress=progress, on_phase=on_phase
        )
        sizes = [beton_size(image, prepare.max_size) for image in images]
        split = Split(
            count=len(images),
            inputs_sha256=inputs,
            height=_range([height for _, height in sizes]),
            width=_range([width for width, _ in sizes]),
            file=path.name,
            size=path.stat().st_size,
            sha256=sha256_file(path),
        )
        journal.add({FINISHED: split.model_dump(mode="json")})
    return split


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
