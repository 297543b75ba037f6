"""Where the study's files are, beside its pipeline."""

from __future__ import annotations

from pathlib import Path

GROWTH = Path("growth")
TABLE = GROWTH / "growth.csv"
REPORT = GROWTH / "report"


def point_file(name: str) -> Path:
    """What training gave for one structure."""
    return GROWTH / "points" / f"{name}.json"
