"""How close do the binary kernels come to what one core can do?

The machine's limits (xor + population count + add, its prefix-parity form, fp32 multiply-add) and
every layer are measured in the same interleaved run, so that each row shows its share of the limit:
the kernel alone (packed bits to real values), fused (PReLU, residual and the next layer's
BN, sign, packing and pooling included) and end to end (real values to real values, all of it).
A 1x1 layer shows beside it its share of a limit of its own, in which the stores count (limits.inl).
Times are the best of many short samples: what the code can do, without what else the machine does.
Shares are medians over the rounds, each against the limit measured in that round: the clock drifts.
Every instruction set of the machine with kernels of its own, on one and two threads; for AVX2 alone
also oneDNN's prepacked fp32 convolution, held to AVX2 as well. Writes results/kernels.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks import _onednn
from ebcore.errors import exit_on_input_error
from ebcore.measure.machine import available_cores, machine
from ebcore.measure.rows import MACHINE_COLUMNS, write_rows
from ebcore.measure.timing import pinned
from ebcore.packed.graph import Bits, Graph
from ebcore.packed.graph import Node as GraphNode
from ebcore.packed.isa import available
from ebcore.packed.native import NativeModel, Part, limits
from ebcore.packed.ops import PRELU

RESULT = Path("results/kernels.csv")
ROUNDS, SAMPLE_SECONDS, WARM_UP = 40, 0.0005, 4
LAYER = 3  # index of the timed node in its graph
COLUMNS = (
    "layer", "body", "gmac", "threads", "kernel_ms", "fused_ms", "e2e_ms", "kernel_gmacs",
    "fused_gmacs", "kernel_share", "fused_share", "pointwise_share", "onednn_fp32_ms",
    "onednn_speedup", "fp32_limit", "binary_limit", "chain_limit", "packed_isa", *MACHINE_COLUMNS,
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A binary convolution; `body`: how often ResNet-18's body has it."""

    inputs: int
    outputs: int
    size: int  # of the input, square
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    body: int = 0

    @property
    def name(self) -> str:
        """E.g. "64-128 3x3/2 g1 56x56"."""
        k, s = self.kernel, self.size
        return f"{self.inputs}-{self.outputs} {k}x{k}/{self.stride} g{self.groups} {s}x{s}"

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        pixels = (-(-self.size // self.stride)) ** 2
        return pixels * self.outputs * self.inputs // self.groups * self.kernel**2


LAYERS = (
    Layer(64, 64, 56, body=4),
    Layer(128, 128, 28, body=3),
    Layer(256, 256, 14, body=3),
    Layer(512, 512, 7, body=3),
    Layer(64, 128, 56, stride=2, body=1),
    Layer(128, 256, 28, stride=2, body=1),
    Layer(256, 512, 14, stride=2, body=1),
    Layer(128, 128, 56, groups=4),
    Layer(256, 256, 28, groups=8),
    Layer(512, 512, 14, groups=8),
    Layer(1024, 1024, 7, groups=16),
    Layer(64, 64, 56, kernel=1),
    Layer(128, 128, 56, kernel=1),
    Layer(256, 256, 28, kernel=1),
    Layer(512, 512, 14, kernel=1),
    Layer(1024, 1024, 7, kernel=1),
)


def graph(layer: Layer, seed: int = 0) -> Graph:
    """A network around the layer: something its residual can come from, and a next binary layer."""
    draw = np.random.default_rng(seed)
    net = Graph((layer.inputs, layer.size, layer.size))

    def node(
        op: str, inputs: list[int], attrs: dict[str, int], tensors: dict[str, np.ndarray | Bits]
    ) -> None:
        name = str(len(net.nodes))
        names = {slot: f"{name}.{slot}" for slot in tensors}
        net.tensors.update({names[slot]: tensor for slot, tensor in tensors.items()})
        net.nodes.append(GraphNode(op, name, inputs, attrs, names))

    def floats(count: int) -> np.ndarray:
        return draw.standard_normal(count, np.float32)

    def convolution(inputs: list[int], i: int, o: int, k: int, stride: int, groups: int) -> None:
        attrs = {"kernel": k, "stride": stride, "padding": k // 2, "groups": groups}
        tensors: dict[str, np.ndarray | Bits] = {
            "bits": Bits.of_signs(draw.random((1, o, i // groups, k, k)) < 0.5),
            "scale": floats(o) / 64,
            "shift": floats(o),
            "in_scale": floats(i),
            "in_shift": floats(i),
            "slope": draw.random(o, np.float32),
        }
        node("binary_conv", inputs, {**attrs, "act": PRELU, "experts": 1}, tensors)

    # Values: 1 is the layer's input, packed by the layer that makes it; 2 is its shortcut (pooled
    # if strided), 3 is that twice side by side.
    convolution([0], layer.inputs, layer.inputs, 1, 1, 1)
    pool = {"kernel": layer.stride, "stride": layer.stride, "padding": 0, "max": 0, "ceil": 0}
    node("pool", [1], {**pool, "include_pad": 0}, {})
    node("concat", [2, 2], {}, {})
    residual = 3 if layer.outputs == 2 * layer.inputs else 2
    convolution(
        [1, residual], layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.groups
    )
    convolution([LAYER + 1], layer.outputs, 32, 3, 1, 1)
    return net


def _limits(name: str) -> dict[str, float]:
    """The best of a few: the clock recovers from the layers before."""
    tries = [limits(name) for _ in range(3)]
    return {kind: max(rates[kind] for rates in tries) for kind in tries[0]}


def measure(layers: Sequence[Layer], name: str, threads: int) -> list[dict[str, object]]:
    """Rows for one instruction set: per layer, and for ResNet-18's body made of the fused times."""
    models = [NativeModel(graph(layer), name) for layer in layers]
    images = [torch.randn(layer.inputs, layer.size, layer.size) for layer in layers]
    inner: dict[tuple[int, Part], int] = {}
    times: dict[tuple[int, Part], list[float]] = {}
    found: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        found.append(_limits(name))
        for i, model in enumerate(models):
            for part in Part:
                x, key = images[i].data_ptr(), (i, part)
                if key not in inner:
                    once = min(model.time(LAYER, part, x, threads=threads, repeats=5))
                    inner[key] = max(1, int(SAMPLE_SECONDS / once))
                # The first samples may meet a clock that what ran before still holds down.
                *_, steady = model.time(
                    LAYER, part, x, threads=threads, repeats=WARM_UP + 1, inner=inner[key]
                )
                times.setdefault(key, []).append(steady)
    best = {kind: max(rates[kind] for rates in found) for kind in found[0]}

    def share(macs: float, seconds: Sequence[float], limit: str = "binary") -> float:
        rounds = zip(seconds, found, strict=True)
        return median(macs / s / (rates[limit] * threads) for s, rates in rounds)

    rows: list[dict[str, object]] = []
    body_macs, body_seconds = 0.0, [0.0] * ROUNDS
    for i, layer in enumerate(layers):
        kernel, fused, e2e = (min(times[i, part]) for part in Part)
        body_macs += layer.body * layer.macs
        body_seconds = [
            total + layer.body * seconds
            for total, seconds in zip(body_seconds, times[i, Part.IN_NETWORK], strict=True)
        ]
        rows.append(
            {
                "layer": layer.name,
                "body": layer.body,
                "gmac": layer.macs / 1e9,
                "kernel_ms": 1e3 * kernel,
                "fused_ms": 1e3 * fused,
                "e2e_ms": 1e3 * e2e,
                "kernel_gmacs": layer.macs / kernel / 1e9,
                "fused_gmacs": layer.macs / fused / 1e9,
                "kernel_share": share(layer.macs, times[i, Part.KERNEL]),
                "fused_share": share(layer.macs, times[i, Part.IN_NETWORK]),
            }
        )
        if layer.kernel == 1:
            own = f"1x1 {layer.inputs}"
            rows[-1]["pointwise_share"] = share(layer.macs, times[i, Part.KERNEL], own)
    if body_macs:
        rows.append(
            {
                "layer": "resnet18 body",
                "gmac": body_macs / 1e9,
                "fused_ms": 1e3 * min(body_seconds),
                "fused_gmacs": body_macs / min(body_seconds) / 1e9,
                "fused_share": share(body_macs, body_seconds),
            }
        )
    common = {
        "threads": threads,
        "fp32_limit": best["fp32"] / 1e9,
        "binary_limit": best["binary"] / 1e9,
        "chain_limit": best["binary chain"] / 1e9,
        "packed_isa": name,
        **machine(),
    }
    return [{**row, **common} for row in rows]


def show(rows: Sequence[dict[str, object]]) -> None:
    """Prints one instruction set's rows."""
    first = rows[0]
    print(
        f"{first['packed_isa']}, {first['threads']} thread(s); one core's limits in GMAC/s: "
        f"fp32 {first['fp32_limit']:.0f}, binary {first['binary_limit']:.0f}, "
        f"chain {first['chain_limit']:.0f}"
    )
    for row in rows:
        cells = [f"{row['layer']:26}"]
        for part in ("kernel", "fused", "e2e"):
            time, share = row.get(f"{part}_ms"), row.get(f"{part}_share")
            cells.append(f"{part} {time:.4f} ms" if isinstance(time, float) else "")
            cells.append(f"{share:.0%}" if isinstance(share, float) else "")
        if isinstance(own := row.get("pointwise_share"), float):
            cells.append(f"of its own limit {own:.0%}")
        if isinstance(faster := row.get("onednn_speedup"), float):
            cells.append(f"oneDNN fp32 {row['onednn_fp32_ms']:.3f} ms, {faster:.1f}x")
        print("  ".join(cells))


def main() -> None:
    machine()  # before pinning, which hides the other cores
    rows = []
    for threads in (1, 2) if available_cores() > 1 else (1,):
        with pinned(threads), torch.inference_mode():
            for name in available():
                if name != "portable":
                    measured = measure(LAYERS, name, threads)
                    if name == "avx2" and threads == 1:
                        peers = _onednn.measure_in_child(len(LAYERS))
                        for row, peer in zip(measured, peers, strict=False):
                            row.update(peer)
                    show(measured)
                    rows += measured
    write_rows(RESULT, COLUMNS, rows)
    print(f"{len(rows)} rows in {RESULT}")


if __name__ == "__main__":
    with exit_on_input_error():
        main()
