"""Packed network against PyTorch fp32 and int8: one function for `ebcore bench` and the report.

fp32 is the real-valued network of the same structure (`real_twin`), run eagerly; int8 is that
network quantized by torch itself. Both are rebuilt from the packed file's own description, so a
packed file is all that is needed. A layer is one convolution: packed from real values in to real
values out (gate, sign, packing, convolution, scale), fp32 the plain convolution, int8 from int8 in
to int8 out. Candidates are interleaved, so that the machine's drift hits all alike.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ebcore.errors import InputError
from ebcore.files import atomic_write
from ebcore.measure.cases import cases
from ebcore.measure.machine import available_cores, machine
from ebcore.measure.rows import CANDIDATES, COLUMNS, NETWORK, TIMES, write_rows
from ebcore.measure.timing import Timing, interleaved, pinned
from ebcore.packed import PackedModel, load
from ebcore.params import Params
from ebcore.workspace import curve_file, metrics_file, packed_file


def benchmark(
    packed: str | Path | PackedModel,
    *,
    threads: int = 1,
    batch_size: int = 1,
    repeats: int = 20,
    min_seconds: float = 0.01,
) -> list[dict[str, Any]]:
    """Rows with the keys `COLUMNS`: the whole network first, then each binary layer.

    Times are milliseconds per call: median (`*_ms`) and quartiles (`*_low_ms`, `*_high_ms`) over
    `repeats` samples of at least `min_seconds`. What cannot run is None, with the reason in `note`.

    Raises:
        InputError: no packed file, a damaged one, or more threads than cores.
    """
    if threads > available_cores():
        raise InputError(
            f"threads {threads}",
            f"this process may use {available_cores()} cores",
            "Use at most as many threads.",
        )
    model = packed if isinstance(packed, PackedModel) else load(packed)
    rows = []
    about = machine()  # before pinning, which hides the other cores
    before = model.threads
    with pinned(threads) as cores, torch.inference_mode(), warnings.catch_warnings():
        # On the int8 network's accuracy, which is not asked for here.
        warnings.filterwarnings("ignore", message="All inputs of this cat operator")
        model.threads = threads
        try:
            for case in cases(model, batch_size):
                times = interleaved(case.calls, repeats=repeats, min_seconds=min_seconds)
                rows.append(
                    {
                        **case.description,
                        "experts": model.metadata["experts"],
                        "batch_size": batch_size,
                        "threads": threads,
                        **milliseconds(times),
                        "repeats": repeats,
                        "pinned": cores or "no",
                        "packed_isa": model.isa,
                        **about,
                    }
                )
        finally:
            model.threads = before
    return rows


def milliseconds(times: Mapping[str, Timing]) -> dict[str, float | None]:
    """The columns of one case's times, and packed's speed-up over the others."""
    row: dict[str, float | None] = dict.fromkeys(TIMES)
    for name, timing in times.items():
        row[f"{name}_ms"] = 1e3 * timing.median
        row[f"{name}_low_ms"] = 1e3 * timing.low
        row[f"{name}_high_ms"] = 1e3 * timing.high
    for name in CANDIDATES[1:]:
        other = times.get(name)
        row[f"speedup_{name}"] = other.median / times["packed"].median if other else None
    return row


def benchmark_stage(params: Params, experts: int) -> dict[str, float]:
    """packed/ebconv-N.ebp -> plots/benchmark-N.csv, and the whole network's row as metrics.

    What could not be measured has no key in the metrics.

    Raises:
        InputError: the packed file is missing or damaged.
    """
    rows = benchmark(packed_file(experts), **params.benchmark.model_dump())
    whole = next(row for row in rows if row["kind"] == NETWORK)
    keys = (*TIMES, "speedup_fp32", "speedup_int8", "threads", "batch_size")
    metrics = {key: float(whole[key]) for key in keys if whole[key] is not None}
    write_rows(curve_file("benchmark", experts), COLUMNS, rows)
    with atomic_write(metrics_file("benchmark", experts)) as file:
        json.dump(metrics, file, indent=1)
    return metrics
