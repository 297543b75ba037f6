"""`make growth`: brings the growth study up to date, as `make repro` does the pipeline."""

from __future__ import annotations

import csv
import sys

from rich.table import Table

from ebcore.errors import exit_on_input_error
from ebcore.growth.files import GROWTH, REPORT, TABLE
from ebcore.params import load_params
from flows.repro import check_folder, reproduce, up_to_date

_PIPELINE = str(GROWTH / "dvc.yaml")


def main() -> int:
    """Returns the exit code: 0, or 1 with the failing stage's error as the last line."""
    with exit_on_input_error():
        from ebcore.growth.structures import check_structures
        from ebcore.tables import show

        params = load_params()
        check_folder(params)
        check_structures(params)
        if up_to_date(_PIPELINE):
            print("The growth study is up to date.")
        elif code := reproduce(_PIPELINE):
            return code
    print()
    show(study_table())
    print()
    print(f"Plot:     {(REPORT / 'index.html').resolve()}")
    print(f"Numbers:  {TABLE.resolve()}")
    return 0


def study_table() -> Table:
    """growth/growth.csv for a terminal."""
    table = Table(title="One expert or several, real weights, binary activations (stage I)")
    for heading in ("name", "series", "structure"):
        table.add_column(heading, no_wrap=True)
    for heading in ("experts", "MBOPs", "MFLOPs", "top-1, %", "top-5, %", "seconds"):
        table.add_column(heading, justify="right")
    with open(TABLE, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            table.add_row(
                *(row[key] for key in ("name", "series", "spec", "experts")),
                *(f"{int(row[key]) / 1e6:,.2f}" for key in ("bops", "flops")),
                *(f"{float(row[key]):.2f}" for key in ("top1", "top5")),
                f"{float(row['seconds']):.0f}",
            )
    return table


if __name__ == "__main__":
    sys.exit(main())
