"""Packed network against PyTorch fp32 and int8: one function for `ebcore bench` and the report.

fp32 is the real-valued network of the same structure (`real_twin`), run eagerly; int8 is that
network quantized by torch itself. Both are rebuilt from the packed file's own description, so a
packed file is all that is needed. A layer is one convolution: packed from real values in to real
values out (gate, sign, packing, convolution, scale), fp32 the plain convolution, int8 from int8 in
to int8 out. Candidates are interleaved, so that the machine's drift hits all alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ebcore.errors import InputError
from ebcore.files import atomic_write
from ebcore.layers import BinaryConv2d
from ebcore.measure.int8 import NoInt8, quantized_conv
from ebcore.measure.machine import available_cores, machine
from ebcore.measure.rows import write_rows
from ebcore.measure.timing import Timing, interleaved, pinned
from ebcore.measure.twin import int8_twin, real_conv, real_twin
from ebcore.packed import PackedModel, isa, load, pack
from ebcore.params import Params
from ebcore.workspace import curve_file, metrics_file, packed_file

CANDIDATES = ("packed", "fp32", "int8")
_TIMES = tuple(
    f"{name}_{part}ms" for name in CANDIDATES for part in ("", "low_", "high_")
)
COLUMNS = (
    "case",
    "kind",
    "experts",
    "shape",
    "batch_size",
    "threads",
    *_TIMES,
    "speedup_fp32",
    "speedup_int8",
    "repeats",
    "pinned",
    "note",
    "packed_isa",
    "cpu",
    "isa",
    "cores",
    "os",
    "python",
    "torch",
    "ebcore",
    "commit",
)
NETWORK = "network"
Call = Callable[[], object]


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
    before = model.threads
    with pinned(threads) as cores, torch.inference_mode():
        model.threads = threads
        try:
            for case in _cases(model, batch_size):
                times = interleaved(case.calls, repeats=repeats, min_seconds=min_seconds)
                rows.append(
                    {
                        **case.description,
                        "experts": model.metadata["experts"],
                        "batch_size": batch_size,
                        "threads": threads,
                        **summarize(times),
                        "repeats": repeats,
                        "pinned": cores or "no",
                        "packed_isa": isa(),
                        **machine(),
                    }
                )
        finally:
            model.threads = before
    return rows
