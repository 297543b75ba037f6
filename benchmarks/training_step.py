"""Where does a training step's time go, and what do bfloat16 and torch.compile save?

Times forward, backward and optimizer of the cifar10-cpu profile's network, of ResNet-18 on the same
images, and of the latter with real values alone, on all cores; each plain, in bfloat16, and in
bfloat16 compiled, in turn. Waiting for data is no part of it: a training's log has its share.
Writes results/training_step.csv, a row per case with hardware and versions.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ebcore.errors import exit_on_input_error
from ebcore.measure.machine import machine
from ebcore.measure.rows import MACHINE_COLUMNS, write_rows
from ebcore.models import resnet, set_binarization
from ebcore.params import load_params
from ebcore.profiles import profile_file
from ebcore.train.compilation import compiled

RESULT = Path("results/training_step.csv")
PROFILE = "cifar10-cpu"
PARTS = ("forward", "backward", "optimizer")
MODES = ("fp32", "bf16", "bf16 compiled")
COLUMNS = (
    "network", "experts", "weights", "inputs", "mode", "batch_size", "threads",
    "images_per_second", "step_ms", "low_ms", "high_ms", *(f"{part}_ms" for part in PARTS),
    "speedup", "repeats", *MACHINE_COLUMNS,
)  # fmt: skip
_CPU = torch.device("cpu")
_WARM = 2  # steps; the first one compiles

Step = Callable[[], dict[str, float]]


def networks() -> list[dict[str, Any]]:
    """The cases: options of `resnet`, experts, and what is binary."""
    params = load_params(profile_file(PROFILE))
    ours = params.model.model_dump()
    plain = {"spec": "2222-1-1:1:1:1", "stem": "small", "pointwise": False, "shortcut": "plain"}
    return [
        {"options": {**plain, "layout": "real"}, "experts": 1, "weights": False, "inputs": False},
        {"options": plain, "experts": 1, "weights": True, "inputs": True},
        {"options": ours, "experts": 1, "weights": False, "inputs": True},
        {"options": ours, "experts": 1, "weights": True, "inputs": True},
        {"options": ours, "experts": 4, "weights": True, "inputs": True},
    ]


def training_step(case: dict[str, Any], mode: str, batch_size: int) -> Step:
    """A step on fixed images; returns the seconds of its parts."""
    torch.manual_seed(0)
    model = resnet(**case["options"], experts=case["experts"], num_classes=10)
    set_binarization(model, inputs=case["inputs"], weights=case["weights"])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    network: nn.Module = compiled(model, mode.endswith("compiled"), _CPU)
    images = torch.randn(batch_size, 3, 32, 32)
    labels = torch.randint(0, 10, (batch_size,))
    autocast = nullcontext() if mode == "fp32" else torch.autocast("cpu", torch.bfloat16)

    def step() -> dict[str, float]:
        times = [time.perf_counter()]
        with autocast:
            loss = F.cross_entropy(network(images), labels)
        times.append(time.perf_counter())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        times.append(time.perf_counter())
        optimizer.step()
        times.append(time.perf_counter())
        return {part: b - a for part, (a, b) in zip(PARTS, pairwise(times), strict=True)}

    return step


def measure(case: dict[str, Any], batch_size: int, repeats: int) -> list[dict[str, Any]]:
    """A row per mode."""
    steps = {mode: training_step(case, mode, batch_size) for mode in MODES}
    found: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    for repeat in range(_WARM + repeats):
        for mode, step in steps.items():
            times = step()
            if repeat >= _WARM:
                found[mode].append(times)
    base = _median(found["fp32"])
    return [
        {
            "network": case["options"]["spec"],
            "experts": case["experts"],
            "weights": "binary" if case["weights"] else "real",
            "inputs": "binary" if case["inputs"] else "real",
            "mode": mode,
            "batch_size": batch_size,
            "threads": torch.get_num_threads(),
            "images_per_second": batch_size / _median(rows),
            "step_ms": 1e3 * _median(rows),
            "low_ms": 1e3 * min(map(_whole, rows)),
            "high_ms": 1e3 * max(map(_whole, rows)),
            **{f"{part}_ms": 1e3 * statistics.median(r[part] for r in rows) for part in PARTS},
            "speedup": base / _median(rows),
            "repeats": repeats,
            **machine(),
        }
        for mode, rows in found.items()
    ]


def _whole(times: dict[str, float]) -> float:
    return sum(times.values())


def _median(rows: list[dict[str, float]]) -> float:
    return statistics.median(map(_whole, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    rows = []
    for case in networks():
        rows += measure(case, arguments.batch_size, arguments.repeats)
        for row in rows[-len(MODES) :]:
            print(
                f"{row['network']} N={row['experts']}, {row['weights']} weights, {row['inputs']} "
                f"inputs, {row['mode']}: {row['images_per_second']:.0f} images/s; forward "
                f"{row['forward_ms']:.0f}, backward {row['backward_ms']:.0f}, optimizer "
                f"{row['optimizer_ms']:.0f} ms",
                flush=True,
            )
        torch.compiler.reset()
    write_rows(RESULT, COLUMNS, rows)
    print(f"{len(rows)} rows in {RESULT}")


if __name__ == "__main__":
    with exit_on_input_error():
        main()
