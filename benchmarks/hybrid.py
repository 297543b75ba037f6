"""What do real inputs against binary weights cost, and networks of Hybrid Binary Networks?

Layers that a partition leaves with real inputs: with weights as bits, as fp32, and with binary
inputs too, in this engine; as fp32 in PyTorch. Then AlexNet and Sketch-A-Net in their four
versions, random weights, packed and in PyTorch. One image, one thread, candidates in turn, medians;
writes results/hybrid.csv.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ebcore.errors import exit_on_input_error
from ebcore.layers import BinaryConv2d
from ebcore.measure.machine import machine
from ebcore.measure.rows import MACHINE_COLUMNS, write_rows
from ebcore.measure.timing import Call, Sampler, SelfTimed, in_turn, pinned
from ebcore.models.architectures import HYBRID
from ebcore.packed import pack
from ebcore.packed.native import NativeModel, Part

RESULT = Path("results/hybrid.csv")
REPEATS, MIN_SECONDS = 15, 0.005
# name: inputs, outputs, kernel, padding, side of the image
LAYERS = {
    "AlexNet 6": (256, 4096, 6, 0, 6),
    "AlexNet 7": (4096, 4096, 1, 0, 1),
    "Sketch-A-Net 6": (256, 512, 7, 0, 7),
    "Sketch-A-Net 7": (512, 512, 1, 0, 1),
    "ResNet-18 17": (512, 512, 3, 1, 7),
    "SqueezeNet 23": (512, 64, 1, 0, 13),
}
NETWORKS: dict[str, dict[str, dict[str, Any]]] = {
    name: {
        "fprec": {"version": "fprec"},
        "wbin": {"version": "wbin", "binary_last": True},
        "fbin": {"version": "fbin", "binary_last": True},
        "hybrid": {"version": "hybrid", "real_inputs": (6, 7), "binary_last": True},
    }
    for name in ("alexnet", "sketchanet")
}
COLUMNS = (
    "case", "candidate", "ms", "low_ms", "high_ms", "speedup", "file_bytes", "packed_isa",
    *MACHINE_COLUMNS,
)  # fmt: skip


def layer_runs(
    inputs: int, outputs: int, kernel: int, padding: int, side: int
) -> dict[str, Call | SelfTimed]:
    """The candidates; "packed fp32", which all are compared with, first."""
    image = torch.randn(1, inputs, side, side)
    runs: dict[str, Call | SelfTimed] = {}
    for name, binary_input, binary_weight in (
        ("packed fp32", False, False),
        ("packed bits", False, True),
        ("packed binary", True, True),
    ):
        conv = BinaryConv2d(inputs, outputs, kernel, padding=padding, scale="xnor").eval()
        conv.binary_input, conv.binary_weight = binary_input, binary_weight
        # behind another layer, as in a network: the engine's own inputs are planes
        model = pack(nn.Sequential(nn.BatchNorm2d(inputs), conv).eval(), (inputs, side, side))
        native, last = NativeModel(model.graph, model.isa), len(model.graph.nodes) - 1
        runs[name] = SelfTimed(partial(_seconds, native, last, image))
    weight = torch.randn(outputs, inputs, kernel, kernel)
    runs["torch fp32"] = partial(F.conv2d, image, weight, None, 1, padding)
    if side == kernel:
        flat, row = weight.flatten(1), image.flatten(1)
        runs["torch fp32 linear"] = partial(F.linear, row, flat)
    return runs


def _seconds(native: NativeModel, node: int, image: torch.Tensor, runs: int) -> float:
    return native.time(node, Part.END_TO_END, image.data_ptr(), inner=runs)[0]


def network_runs(name: str) -> tuple[dict[str, Call | SelfTimed], dict[str, int]]:
    """The candidates, and the sizes of the packed ones in bytes."""
    runs: dict[str, Call | SelfTimed] = {}
    sizes: dict[str, int] = {}
    for version, settings in NETWORKS[name].items():
        torch.manual_seed(0)
        model: nn.Module = HYBRID[name](**settings).eval()
        config: dict[str, Any] = model.config  # type: ignore[assignment]
        side = config["image_size"]
        image = torch.randn(1, config["in_channels"], side, side)
        packed = pack(model, (config["in_channels"], side, side))
        sizes[f"packed {version}"] = packed.nbytes
        runs[f"packed {version}"] = partial(packed, image)
        if version == "fprec":
            runs["torch fprec"] = partial(model, image)
    return runs, sizes


def rows_of(case: str, runs: dict[str, Call | SelfTimed]) -> list[dict[str, Any]]:
    """A row per candidate; `speedup` over the first one."""
    found = in_turn({name: Sampler(run, MIN_SECONDS) for name, run in runs.items()}, REPEATS)
    first, rows = next(iter(found.values())), []
    for name, timing in found.items():
        speedup = first.median / timing.median
        rows.append(
            {
                "case": case,
                "candidate": name,
                "ms": 1e3 * timing.median,
                "low_ms": 1e3 * timing.low,
                "high_ms": 1e3 * timing.high,
                "speedup": speedup,
            }
        )
        print(f"{case:16}{name:20}{1e3 * timing.median:10.4f} ms{speedup:8.2f}x", flush=True)
    return rows


def main() -> None:
    about, rows = machine(), []
    with pinned(1), torch.inference_mode():
        for case, shape in LAYERS.items():
            rows += rows_of(case, layer_runs(*shape))
        for name in NETWORKS:
            runs, sizes = network_runs(name)
            rows += [
                {**row, "file_bytes": sizes.get(row["candidate"])} for row in rows_of(name, runs)
            ]
    isa = pack(nn.ReLU(), (1, 1, 1)).isa
    write_rows(RESULT, COLUMNS, [{**row, "packed_isa": isa, **about} for row in rows])
    print(f"{len(rows)} rows in {RESULT}")


if __name__ == "__main__":
    with exit_on_input_error():
        main()
