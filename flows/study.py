"""`make growth`, `make ablation`: bring a study up to date, as `make repro` does the pipeline."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from ebcore.ablation import files as ablation
from ebcore.errors import EXIT_CODE, exit_on_input_error
from ebcore.growth import files as growth
from ebcore.params import Params, load_params
from flows.repro import check_folder, reproduce, up_to_date


@dataclass(frozen=True)
class Study:
    """A pipeline beside the main one.

    Attributes:
        title: for the terminal.
        folder: of its dvc.yaml.
        check: raises InputError for an entry of params.yaml that cannot be trained.
        table: its results, for a terminal.
        report, numbers: its page and its CSV.
    """

    title: str
    folder: Path
    check: Callable[[Params], None]
    table: Callable[[Params], Table]
    report: Path
    numbers: Path


def bring_up_to_date(study: Study) -> int:
    """Returns the exit code: 0, or 1 with the failing stage's error as the last line."""
    pipeline = str(study.folder / "dvc.yaml")
    with exit_on_input_error():
        from ebcore.tables import show

        params = load_params()
        check_folder(params)
        study.check(params)
        if up_to_date(pipeline):
            print(f"The {study.title} is up to date.")
        elif code := reproduce(pipeline):
            return code
        print()
        show(study.table(params))
    print()
    print(f"Plot:     {(study.report / 'index.html').resolve()}")
    print(f"Numbers:  {study.numbers.resolve()}")
    return 0


def growth_table(_: Params) -> Table:
    """growth/growth.csv for a terminal."""
    table = Table(title="One expert or several, real weights, binary activations (stage I)")
    for heading in ("name", "series", "structure"):
        table.add_column(heading, no_wrap=True)
    for heading in ("experts", "MBOPs", "MFLOPs", "top-1, %", "top-5, %", "seconds"):
        table.add_column(heading, justify="right")
    with open(growth.TABLE, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            table.add_row(
                *(row[key] for key in ("name", "series", "spec", "experts")),
                *(f"{int(row[key]) / 1e6:,.2f}" for key in ("bops", "flops")),
                *(f"{float(row[key]):.2f}" for key in ("top1", "top5")),
                f"{float(row['seconds']):.0f}",
            )
    return table


def ablation_table(params: Params) -> Table:
    """The ablation's results for a terminal: mean +- standard deviation over seeds."""
    from ebcore.ablation.runs import read_runs
    from ebcore.ablation.summary import summaries

    found = summaries(read_runs(params))
    seeds = len(params.ftbnn.seeds)
    table = Table(
        title=f"FTBNN's variants, {seeds} seed{'s' if seeds > 1 else ''}",
        caption="Within the spread: the intervals of mean +- standard deviation overlap.",
    )
    for heading in ("variant", "series"):
        table.add_column(heading, no_wrap=True)
    for heading in ("top-1, %", "real weights, %", "difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(f"to {found[0].first.variant}")
    for heading in ("MBOPs", "MFLOPs", "kB", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for summary in found:
        run, difference = summary.first, summary.difference
        table.add_row(
            run.variant,
            run.series,
            str(summary.top1),
            str(summary.top1_real_weights),
            "" if difference is None else f"{difference:+.2f}",
            summary.verdict,
            *(f"{count / 1e6:.3f}" for count in (run.bops, run.flops)),
            f"{run.bits / 8e3:.2f}",
            f"{sum(run.seconds for run in summary.runs):.0f}",
        )
    return table


def _check_growth(params: Params) -> None:
    from ebcore.growth.structures import check_structures

    check_structures(params)


def _check_ablation(params: Params) -> None:
    from ebcore.ablation.variants import check_variants

    check_variants(params)


STUDIES = {
    "growth": Study(
        "growth study", growth.GROWTH, _check_growth, growth_table, growth.REPORT, growth.TABLE
    ),
    "ablation": Study(
        "ablation", ablation.ABLATION, _check_ablation, ablation_table, ablation.REPORT,
        ablation.TABLE,
    ),
}  # fmt: skip


def main() -> int:
    """`python -m flows.study NAME`; returns the exit code."""
    if len(sys.argv) != 2 or sys.argv[1] not in STUDIES:
        print(f"error: flows.study: got {sys.argv[1:]}. Use one of {', '.join(STUDIES)}.",
              file=sys.stderr)  # fmt: skip
        return EXIT_CODE
    return bring_up_to_date(STUDIES[sys.argv[1]])


if __name__ == "__main__":
    sys.exit(main())
