"""Benchmark results as CSV: a row per case, hardware and versions in every row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ebcore.files import atomic_write

CANDIDATES = ("packed", "fp32", "int8")
NETWORK, LAYER = "network", "layer"  # kinds of cases
TIMES = tuple(f"{name}_{part}ms" for name in CANDIDATES for part in ("", "low_", "high_"))
MACHINE_COLUMNS = ("cpu", "isa", "cores", "os", "python", "torch", "ebcore", "commit")
COLUMNS = (
    "case",
    "kind",
    "experts",
    "shape",
    "batch_size",
    "threads",
    *TIMES,
    "speedup_fp32",
    "speedup_int8",
    "repeats",
    "pinned",
    "note",
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
