"""Which activation, shortcut and grouping does a Bi-Real network want (FTBNN's claims 2 to 4)?

Trains the variants of `ebcore.methods.ftbnn` on scikit-learn's digits, in a folder of its own, each
with several seeds, by the pipeline's own training loop: real weights, then binary ones. The
activation of the highest mean top-1 is that of the shortcuts and groups after it. Writes
results/ftbnn.csv, a row per variant and seed; prints mean and standard deviation.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ebcore.data.convert import convert
from ebcore.data.fetch import fetch
from ebcore.data.manifest import load_manifest
from ebcore.errors import exit_on_input_error
from ebcore.measure.machine import machine
from ebcore.measure.rows import MACHINE_COLUMNS, write_rows
from ebcore.methods.ftbnn import (
    STEPS,
    Variant,
    activation_variants,
    compression_variants,
    group_variants,
    operations,
    variant_params,
)
from ebcore.params import Params, load_params
from ebcore.train.distributed import Group
from ebcore.train.job import FINAL, make_job
from ebcore.train.job import RESULT as CURVE
from ebcore.train.loop import Trainer
from ebcore.train.signals import StopRequest
from ebcore.workspace import BETON

RESULT, PROFILE = Path("results/ftbnn.csv"), Path("params/digits.yaml")
SEEDS = (0, 1, 2)
_ALONE = Group(rank=0, world=1, device=torch.device("cpu"), threads=1)
COLUMNS = (
    "variant", "series", "seed", "top1", "top1_real_weights", "bops", "flops", "bits", "seconds",
    *MACHINE_COLUMNS,
)  # fmt: skip


def prepare(params: Params) -> Params:
    """The digits in the working directory, and parameters that read them without FFCV's start."""
    folder = Path(params.data.folder)
    fetch(params.data.name, folder)
    plain = params.model_copy(update={"data": params.data.model_copy(update={"loader": "folder"})})
    convert(folder, BETON, plain.prepare, "folder", name=plain.data.name, progress=False)
    return plain


def train(params: Params, variant: Variant, seed: int) -> dict[str, float]:
    """Both steps in this process; top-1 after each in percent, and what the network costs."""
    mine, start, curves = variant_params(params, variant, seed), None, []
    began = time.monotonic()
    for stage in STEPS:
        job = make_job(stage, 1, mine, start=start)
        job.folder.mkdir(parents=True)
        with contextlib.redirect_stdout(io.StringIO()):
            Trainer(job, _ALONE, StopRequest()).run()
        start = job.folder / FINAL
        curves.append(json.loads((job.folder / CURVE).read_text())["curve"])
    count = operations(mine, len(load_manifest(BETON).classes))
    return {
        "top1": curves[1][-1]["val_top1"],
        "top1_real_weights": curves[0][-1]["val_top1"],
        "bops": count.bops,
        "flops": count.flops,
        "bits": count.bits,
        "seconds": time.monotonic() - began,
    }


def measure(
    params: Params, variants: Sequence[Variant], seeds: Sequence[int]
) -> Iterator[list[dict[str, Any]]]:
    """Each variant's rows, one per seed, as soon as there are all; prints a line for each."""
    for variant in variants:
        about = {"variant": variant.name, "series": variant.series}
        rows: list[dict[str, Any]] = [
            {**about, "seed": seed, **train(params, variant, seed)} for seed in seeds
        ]
        first = rows[0]
        print(
            f"{variant.name:24} top-1 {_text(rows, 'top1')}, "
            f"real weights {_text(rows, 'top1_real_weights')}, "
            f"{first['bops'] / 1e6:.2f} MBOPs, {first['flops'] / 1e6:.3f} MFLOPs, "
            f"{first['bits'] / 8e3:.2f} kB",
            flush=True,
        )
        yield rows


def best_of(variants: Sequence[Variant], rows: Sequence[dict[str, Any]]) -> Variant:
    """That of the highest mean top-1; the first among equals."""
    return max(
        variants,
        key=lambda v: statistics.fmean(row["top1"] for row in rows if row["variant"] == v.name),
    )


def _text(rows: Sequence[dict[str, Any]], key: str) -> str:
    values = [row[key] for row in rows]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.2f} +- {spread:.2f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--first", type=int, help="only so many activations")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    about, out, params = machine(), arguments.out.resolve(), load_params(PROFILE)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        params = prepare(params)
        rows: list[dict[str, Any]] = []

        def keep(variants: Sequence[Variant]) -> None:
            for found in measure(params, variants, arguments.seeds):
                rows.extend({**row, **about} for row in found)
                write_rows(out, COLUMNS, rows)  # what there is outlives what comes after

        variants = activation_variants()[: arguments.first]
        keep(variants)
        best = best_of(variants, rows)
        print(f"best activation: {best.name}", flush=True)
        keep([*compression_variants(best), *group_variants(best)])
    print(f"{len(rows)} rows in {arguments.out}")


if __name__ == "__main__":
    with exit_on_input_error():
        main()
