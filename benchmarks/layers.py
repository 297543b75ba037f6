"""How much faster is a packed layer than the same convolution by its peers, from fp32 to fp32?

ResNet-18's layers, the paper's grouped ones and its 1x1, one image, one thread, each
candidate in a process of its own, interleaved with the machine's limits. Int8 peers go from int8 to
int8, the best case for them. Writes results/layers.csv, a row per layer and candidate.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.kernels import LAYERS
from benchmarks.targets import TARGET_COLUMNS, mark_layer
from ebcore.errors import exit_on_input_error
from ebcore.measure.benchmark import Group, contest_of, measure
from ebcore.measure.cases import Convolution
from ebcore.measure.machine import available_cores, machine
from ebcore.measure.peers import candidates, peer
from ebcore.measure.rows import COLUMNS, LAYER, write_rows
from ebcore.tables import benchmark_tables, show

RESULT = Path("results/layers.csv")
CASES = {
    Convolution(
        layer.inputs,
        layer.outputs,
        layer.size,
        layer.size,
        layer.kernel,
        layer.stride,
        layer.kernel // 2,
        layer.groups,
    ): layer.body > 0
    for layer in LAYERS
}  # whether it is one of ResNet-18's, which have goals


def rows_of(
    cases: Sequence[Convolution], threads: int, *, repeats: int, min_seconds: float
) -> list[dict[str, Any]]:
    """Every candidate on these layers."""
    names = candidates(machine()["isa"])
    with contest_of(names, threads) as contest:
        present = [name for name in names if name not in contest.absent and peer(name).layers]
        for name, reason in contest.absent.items():
            print(f"{name} is left out: {reason}")
        rows = []
        for case in cases:
            group = Group(case.name, LAYER, [(name, case) for name in present])
            found = list(measure([group], contest, repeats=repeats, min_seconds=min_seconds))
            if threads == 1 and CASES.get(case):
                mark_layer(found, case.stride)
            rows += found
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--min-seconds", type=float, default=0.01)
    parser.add_argument("--first", type=int, help="only so many layers")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    rows = []
    for threads in (count for count in arguments.threads if count <= available_cores()):
        rows += rows_of(
            list(CASES)[: arguments.first],
            threads,
            repeats=arguments.repeats,
            min_seconds=arguments.min_seconds,
        )
        for table in benchmark_tables([row for row in rows if row["threads"] == threads]):
            show(table)
    write_rows(arguments.out, (*COLUMNS, *TARGET_COLUMNS), rows)
    print(f"{len(rows)} rows in {arguments.out}")


if __name__ == "__main__":
    with exit_on_input_error():
        main()
