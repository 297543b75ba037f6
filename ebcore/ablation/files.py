"""Where the ablation's files are, beside its pipeline."""

from __future__ import annotations

from pathlib import Path

ABLATION = Path("ablation")
TABLE = ABLATION / "ablation.csv"
REPORT = ABLATION / "report"


def point_file(variant: str) -> Path:
    """What training gave for one variant, all seeds."""
    return ABLATION / "points" / f"{variant}.json"
