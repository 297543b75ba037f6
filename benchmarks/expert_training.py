"""What does training N experts cost beside one binary kernel?

Times forward + backward of `BinaryConv2d` with N experts against the same layer with one, and
takes the peak of memory beyond the experts and their gradients, each layer in a process of its own.
Writes results/expert_training.csv, a row per case with hardware and versions. `make bench` runs it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ebcore.errors import exit_on_input_error
from ebcore.layers import BinaryConv2d
from ebcore.measure.machine import available_cores, machine
from ebcore.measure.rows import MACHINE_COLUMNS, write_rows
from ebcore.measure.timing import interleaved, pinned

RESULT = Path("results/expert_training.csv")
BATCH = 32
# channels, size, groups, kernel: ResNet-18's layers, then 1262-2-4:8:8:16's, then its 1x1.
LAYERS = (
    (64, 56, 1, 3),
    (256, 14, 1, 3),
    (512, 7, 1, 3),
    (128, 56, 4, 3),
    (256, 28, 8, 3),
    (512, 14, 8, 3),
    (1024, 7, 16, 3),
    (256, 28, 1, 1),
    (512, 14, 1, 1),
)
EXPERTS = (4, 8)
COLUMNS = (
    "layer", "batch_size", "experts", "weights", "threads",
    "ms", "low_ms", "high_ms", "plain_ms", "plain_low_ms", "plain_high_ms", "ratio",
    "peak_mb", "plain_peak_mb", "peak_ratio", "repeats", "pinned", *MACHINE_COLUMNS,
)  # fmt: skip


def training_step(
    channels: int, size: int, groups: int, kernel: int, experts: int, binary_weight: bool
) -> Callable[[], None]:
    """Forward and backward of one layer on a fixed batch, gates spread over the experts."""
    torch.manual_seed(0)
    conv = BinaryConv2d(
        channels, channels, kernel, padding=kernel // 2, groups=groups, experts=experts
    )
    conv.binary_weight = binary_weight
    if conv.gate is not None:
        torch.nn.init.normal_(conv.gate.linear.weight)
        torch.nn.init.zeros_(conv.gate.linear.bias)
    x = torch.randn(BATCH, channels, size, size, requires_grad=True)
    grad = torch.randn(BATCH, channels, size, size)

    def step() -> None:
        conv.zero_grad(set_to_none=True)
        x.grad = None
        conv(x).backward(grad)

    return step


def peak_bytes(case: tuple[int, int, int, int, int, bool]) -> int:
    """Most memory that a step takes beyond the experts and their gradients, in bytes (Linux)."""
    channels, _, groups, kernel, experts, _ = case
    # What the libraries set up once is not the step's; a full step would leave memory behind.
    training_step(2 * groups, 8, groups, kernel, experts, case[-1])()
    step = training_step(*case)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    step()
    gradients = 4 * experts * channels * (channels // groups) * kernel * kernel
    return _status("VmHWM") - before - gradients


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise AssertionError(name)


def _peak_of(case: tuple[int, int, int, int, int, bool], threads: int) -> int:
    """`peak_bytes` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.expert_training", "--peak", json.dumps(case)]
    command += ["--threads", str(threads)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(layer: tuple[int, int, int, int], threads: int, repeats: int) -> list[dict[str, Any]]:
    """Rows of one layer: every N with binary and with real weights, beside one binary kernel."""
    channels, size, groups, kernel = layer
    about = machine()  # before pinning, which hides the other cores
    plain = (*layer, 1, True)
    cases = {"plain": plain}
    for experts in EXPERTS:
        for binary in (True, False):
            cases[f"{experts} {binary}"] = (*layer, experts, binary)
    with pinned(threads) as cores:
        timings = interleaved(
            {name: training_step(*case) for name, case in cases.items()},
            repeats=repeats,
            min_seconds=0,
        )
    peaks = {name: _peak_of(case, threads) for name, case in cases.items()}
    base = timings["plain"]
    rows = []
    for name, case in cases.items():
        if name == "plain":
            continue
        time = timings[name]
        rows.append(
            {
                "layer": f"{channels} {kernel}x{kernel} g{groups} {size}x{size}",
                "batch_size": BATCH,
                "experts": case[4],
                "weights": "binary" if case[5] else "real",
                "threads": threads,
                "ms": time.median * 1e3,
                "low_ms": time.low * 1e3,
                "high_ms": time.high * 1e3,
                "plain_ms": base.median * 1e3,
                "plain_low_ms": base.low * 1e3,
                "plain_high_ms": base.high * 1e3,
                "ratio": time.median / base.median,
                "peak_mb": peaks[name] / 1e6,
                "plain_peak_mb": peaks["plain"] / 1e6,
                "peak_ratio": peaks[name] / peaks["plain"],
                "repeats": repeats,
                "pinned": cores,
                **about,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help="one number of threads instead of 1 and 2")
    parser.add_argument("--repeats", type=int, default=11)
    arguments = parser.parse_args()
    if arguments.peak:
        torch.set_num_threads(arguments.threads)
        channels, size, groups, kernel, experts, binary = json.loads(arguments.peak)
        print(peak_bytes((channels, size, groups, kernel, experts, binary)))
        return
    counts = (arguments.threads,) if arguments.threads else (1, 2)
    rows = []
    for threads in (count for count in counts if count <= available_cores()):
        for layer in LAYERS:
            rows += measure(layer, threads, arguments.repeats)
            for row in rows[-2 * len(EXPERTS) :]:
                print(
                    f"{row['layer']}, {row['experts']} experts, {row['weights']}, {threads} "
                    f"threads: {row['ratio']:.2f}x time, {row['peak_ratio']:.2f}x memory"
                )
    write_rows(RESULT, COLUMNS, rows)
    print(f"{len(rows)} rows in {RESULT}")


if __name__ == "__main__":
    with exit_on_input_error():
        main()
