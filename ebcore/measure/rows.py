"""Benchmark results as CSV: a row per case and candidate, hardware and versions in every row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ebcore.files import atomic_write

NETWORK, LAYER = "network", "layer"  # kinds of cases
MACHINE_COLUMNS = ("cpu", "isa", "cores", "os", "python", "torch", "ebcore", "commit")
COLUMNS = (
    "case",
    "kind",
    "network",
    "layers",
    "batch_size",
    "threads",
    "candidate",
    "ms",
    "low_ms",
    "high_ms",
    "speedup",
    "gmac",
    "floor_ms",
    "share",
    "fp32_limit",
    "int8_limit",
    "binary_limit",
    "repeats",
    "min_seconds",
    "pinned",
    "note",
    "version",
    "packed_isa",
    *MACHINE_COLUMNS,
)


def write_rows(
    path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]
) -> None:
    """Writes a whole CSV with a header; None becomes an empty cell, floats keep 6 digits.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _cell(row.get(key)) for key in columns})


def _cell(value: object) -> object:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value
