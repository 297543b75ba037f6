"""How much faster is the packed network than PyTorch fp32 and int8, whole and layer by layer?

Times every packed file the pipeline made, and writes results/network.csv, a row per case with
hardware and versions. `make bench` runs it.
"""

from __future__ import annotations

from pathlib import Path

from ebcore.errors import InputError, exit_on_input_error
from ebcore.measure.benchmark import benchmark
from ebcore.measure.rows import COLUMNS, write_rows
from ebcore.params import load_params
from ebcore.tables import benchmark_table, show
from ebcore.workspace import packed_file

RESULT = Path("results/network.csv")


def main() -> None:
    params = load_params()
    rows = []
    for experts in params.experts:
        path = packed_file(experts)
        if not path.is_file():
            raise InputError(path, "does not exist", f"Run `dvc repro pack@{experts}`.")
        measured = benchmark(path, **params.benchmark.model_dump())
        show(benchmark_table(measured))
        rows += [{"profile": params.profile, **row} for row in measured]
    write_rows(RESULT, ("profile", *COLUMNS), rows)
    print(f"{len(rows)} rows in {RESULT}")


if __name__ == "__main__":
    with exit_on_input_error():
        main()
