"""What `prepare` made: classes, counts, colour statistics, and hashes of inputs and outputs."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ebcore.errors import InputError
from ebcore.files import atomic_write, sha256_file
from ebcore.workspace import main_checkout

MANIFEST = "manifest.json"
REMEDY = "Run `dvc repro -f prepare` to write it again."
# Hashes of files this large or larger are remembered: a stage should not read 100 GB to start.
REMEMBER_FROM = 1 << 26  # bytes


class Split(BaseModel):
    """One split. Heights and widths are the smallest and largest stored, in px."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int
    inputs_sha256: str  # over path and hash of each image, in order
    height: tuple[int, int]
    width: tuple[int, int]
    file: str | None = None  # the .beton; None for loader: folder
    size: int | None = None  # bytes
    sha256: str | None = None
    files: list[str] | None = None  # for loader: folder, relative to data.folder


class Manifest(BaseModel):
    """A prepared data set. `mean` and `std`: R, G, B of the training images, 0..1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    name: str
    loader: Literal["ffcv", "folder"]
    classes: list[str]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    splits: dict[str, Split]
    skipped: list[str] = []

    @property
    def sha256(self) -> str:
        """Hex hash of the content: the data's identity, wherever its folder lies."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, directory: str | Path) -> None:
        """Writes `directory`/manifest.json, atomically."""
        with atomic_write(Path(directory) / MANIFEST) as file:
            json.dump(self.model_dump(mode="json"), file, indent=1, sort_keys=True)
            file.write("\n")

    def verify(self, directory: str | Path) -> None:
        """Compares every .beton with its recorded size and hash.

        Raises:
            InputError: a file is missing, truncated or altered; names it.
        """
        for name in self.splits:
            self.verify_split(directory, name)

    def verify_split(self, directory: str | Path, name: str) -> None:
        """As `verify`, for one split."""
        split = self.splits[name]
        if split.file is None:
            return
        path = Path(directory) / split.file
        if not path.is_file():
            raise InputError(path, "the file is missing", REMEDY)
        size = path.stat().st_size
        if size != split.size:
            reason = f"holds {size} bytes where its manifest records {split.size}"
            raise InputError(path, f"{reason}: truncated or replaced", REMEDY)
        if _sha256(path) != split.sha256:
            raise InputError(path, "its content differs from its manifest's sha256", REMEDY)


def load_manifest(directory: str | Path) -> Manifest:
    """Reads `directory`/manifest.json.

    Raises:
        InputError: missing or not a manifest.
    """
    path = Path(directory) / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", REMEDY) from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise InputError(path, "is not a manifest of this version", REMEDY) from error


def remembered_file() -> Path:
    """Where hashes of large files are remembered."""
    return main_checkout() / ".runs" / "verified.json"


def _sha256(path: Path) -> str:
    """A file's hash; for a large one, remembered while the file stays untouched."""
    status = path.stat()
    if status.st_size < REMEMBER_FROM:
        return sha256_file(path)
    # The change time cannot be set by a program, so a rewritten file never passes for the old.
    facts = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]
    key = os.path.realpath(path)
    entry = _remembered().get(key)
    if isinstance(entry, dict) and entry.get("facts") == facts:
        return str(entry.get("sha256"))
    digest = sha256_file(path)
    known = {**_remembered(), key: {"facts": facts, "sha256": digest}}
    with atomic_write(remembered_file()) as file:
        json.dump(known, file, indent=1)
    return digest


def _remembered() -> dict[str, object]:
    try:
        content = json.loads(remembered_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
