"""How the report reads results; what is missing or damaged is named, with its stage."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ebcore.errors import InputError
from ebcore.workspace import curve_file, metrics_file

Row = dict[str, str]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Trained:
    """What a training left.

    Attributes:
        metrics: of its last epoch; top1 and best_top1 in percent, seconds.
        curve: a row per epoch.
    """

    metrics: dict[str, Any]
    curve: list[Row]


def read_trained(stage: str, item: str) -> Trained:
    """One training; `item` is what follows `@` in its stage's name, "" for a shared stage.

    Raises:
        InputError: as `read`.
    """
    name = f"{stage}@{item}" if item else stage
    return Trained(
        read(metrics_file(stage, item), name, read_json),
        read(curve_file(stage, item), name, read_rows),
    )


def read(path: Path, stage: str, reader: Callable[[Path], _T]) -> _T:
    """What `reader` makes of a file.

    Args:
        stage: that writes it, as DVC names it: "pack@4".

    Raises:
        InputError: it is missing or damaged; the text names it and the stage.
    """
    if not path.is_file():
        raise InputError(
            path, "does not exist", f"Run the stage that makes it: `dvc repro {stage}`."
        )
    try:
        return reader(path)
    except InputError:
        raise
    except (ValueError, KeyError, OSError) as error:
        remedy = f"Delete it and make it again: `dvc repro {stage}`."
        raise InputError(path, f"is damaged ({error})", remedy) from error


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds one mapping."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("no mapping")
    return content


def read_rows(path: Path) -> list[Row]:
    """A CSV file with a header."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
