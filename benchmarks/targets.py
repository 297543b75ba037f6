"""What must hold, and whether it does: a table from the CSV files of the other benchmarks.

A target is a ratio of one interleaved run with a goal. `layers`, `network` and `loader` write
theirs into their rows (`TARGET_COLUMNS`); those of the other files are found here. `make bench`
prints this table last; `python -m benchmarks.targets` prints it alone.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from ebcore.measure.peers import NO_AMX, PACKED_BF16
from ebcore.tables import show

RESULTS = Path("results")
TARGET_COLUMNS = ("target", "ratio", "goal", "holds")
Row = Mapping[str, str]


@dataclass(frozen=True)
class Target:
    """A ratio and the least, or the most, that it is to be."""

    text: str
    ratio: float
    limit: float
    at_least: bool = True

    @property
    def goal(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"

    @property
    def holds(self) -> bool:
        return self.ratio >= self.limit if self.at_least else self.ratio <= self.limit

    def columns(self) -> dict[str, Any]:
        """As `TARGET_COLUMNS`."""
        holds = "yes" if self.holds else "no"
        return dict(zip(TARGET_COLUMNS, (self.text, self.ratio, self.goal, holds), strict=True))


def without_amx(names: Sequence[str]) -> list[str]:
    """The candidates that use no AMX: goals were set on a machine without."""
    return [name for name in names if name + NO_AMX not in names]


# Layer end to end: stride -> least speed-up over oneDNN fp32, the best int8, OpenVINO binary.
_LAYER_GOALS = {1: (16, 4, 1.3), 2: (14, 3.5, 1.3)}


def mark_layer(rows: Sequence[MutableMapping[str, Any]], stride: int) -> None:
    """Adds `TARGET_COLUMNS` to one ResNet-18 layer's rows, to those of the peers with a goal."""
    timed = [row for row in rows if row["speedup"] is not None]
    names = without_amx([row["candidate"] for row in timed])
    int8 = [row for row in timed if "int8" in row["candidate"] and row["candidate"] in names]
    best = min(int8, key=lambda row: row["ms"])["candidate"] if int8 else None
    real, small, binary = _LAYER_GOALS[stride]
    goals = {"onednn_fp32": real, best: small, "openvino_binary": binary}
    for row in timed:
        goal = goals.get(row["candidate"])
        if goal is not None:
            text = f"{row['case']} over {'best int8, ' * (row['candidate'] == best)}"
            row.update(Target(text + row["candidate"], row["speedup"], goal).columns())


# Packed network: the peer's row, most of that peer's time.
_NETWORK_GOALS = {
    "bi-real-18": ("openvino_binary", 0.92),
    "1262-2-4:8:8:16 N=4": ("openvino_int8", 0.5),
}


def mark_network(rows: Sequence[MutableMapping[str, Any]]) -> None:
    """Adds `TARGET_COLUMNS` to the full-size networks' rows, to those of the peers with a goal."""
    timed = {(row["network"], row["candidate"]): row for row in rows if row["ms"] is not None}
    names = without_amx([candidate for _, candidate in timed])
    for network, (name, goal) in _NETWORK_GOALS.items():
        packed = timed.get((network, "packed"))
        for (_, candidate), row in timed.items():
            if packed and candidate in names and candidate.removesuffix(NO_AMX) == name:
                text = f"{network} / {candidate} {row['network']}, {row['threads']} thread(s)"
                ratio = packed["ms"] / row["ms"]
                row.update(Target(text, ratio, goal, at_least=False).columns())
    bf16 = timed.get(("bi-real-18", PACKED_BF16))
    peer = timed.get(("bi-real-18", "openvino_binary"))
    if bf16 and peer:
        text = f"bi-real-18, bf16 / openvino_binary bi-real-18, {bf16['threads']} thread(s)"
        bf16.update(Target(text, bf16["ms"] / peer["ms"], 0.85, at_least=False).columns())


_LOADER_GOAL = 3  # times torchvision's folders


def mark_loader(rows: Sequence[MutableMapping[str, Any]]) -> None:
    """Adds `TARGET_COLUMNS` to FFCV's rows."""
    for row in rows:
        if row["candidate"].startswith("ffcv"):
            text = f"{row['candidate']} over torchvision folders, {row['threads']} thread(s)"
            row.update(Target(text, row["speedup"], _LOADER_GOAL).columns())


def _own(rows: Sequence[Row]) -> Iterator[Target]:
    """Those that the rows carry."""
    for row in rows:
        if row.get("target"):
            sense, limit = row["goal"].split()
            yield Target(row["target"], float(row["ratio"]), float(limit), sense == ">=")


def _kernels(rows: Sequence[Row]) -> Iterator[Target]:
    """Shares of the limit of XOR + population count + add, one thread, the fastest kernels."""
    for row in rows:
        if row["threads"] != "1":
            continue
        if row["packed_isa"] == "avx2" and re.search("-(256|512) 3x3.* g1 ", row["layer"]):
            yield Target(f"{row['layer']}, AVX2 over oneDNN fp32", float(row["onednn_speedup"]), 8)
        if row["packed_isa"] != "avx512":
            continue
        if row["pointwise_share"]:
            text = f"{row['layer']}, kernel, of the limit of 1x1 layers"
            yield Target(text, float(row["pointwise_share"]), 0.8)
        elif row["layer"] == "resnet18 body":
            yield Target("ResNet-18's body, fused, of the limit", float(row["fused_share"]), 0.85)
        elif found := re.match(r"(\d+)-\d+ 3x3/\d+ g(\d+) ", row["layer"]):
            inputs, groups = int(found[1]), int(found[2])
            share = 0.9 if inputs == 64 else 0.95 if inputs == 128 else 1.05
            if groups > 1:
                share = 0.85 if inputs // groups >= 64 else 0.8
            text = f"{row['layer']}, kernel, of the limit"
            yield Target(text, float(row["kernel_share"]), share)


# Training, N = 8 against one kernel: layer -> most time.
_TRAINING_GOALS = {"64 3x3 g1 56x56": 1.3, "256 3x3 g1 14x14": 1.3, "512 3x3 g1 7x7": 1.6}


def _training(rows: Sequence[Row]) -> Iterator[Target]:
    for row in rows:
        goal = _TRAINING_GOALS.get(row["layer"])
        if goal is not None and row["experts"] == "8":
            text = f"training {row['layer']}, {row['weights']}, {row['threads']} thread(s)"
            yield Target(f"{text}, time", float(row["ratio"]), goal, at_least=False)
            yield Target(f"{text}, memory", float(row["peak_ratio"]), 1.3, at_least=False)


_FILES: dict[str, Callable[[Sequence[Row]], Iterator[Target]]] = {
    "kernels": _kernels,
    "layers": _own,
    "network": _own,
    "loader": _own,
    "expert_training": _training,
}


def targets(folder: Path = RESULTS) -> list[tuple[str, Target]]:
    """(benchmark, target) for all there are files of."""
    found = []
    for name, read in _FILES.items():
        path = folder / f"{name}.csv"
        if path.is_file():
            with open(path, newline="", encoding="utf-8") as file:
                found += [(name, target) for target in read(list(csv.DictReader(file)))]
    return found


def main() -> None:
    table = Table(title="What must hold")
    for heading in ("benchmark", "target", "goal", "measured", "holds"):
        table.add_column(heading, justify="right" if heading in ("goal", "measured") else "left")
    found = targets()
    for name, target in found:
        holds = "yes" if target.holds else "[bold]no[/bold]"
        table.add_row(name, target.text, target.goal, f"{target.ratio:.3g}", holds)
    table.caption = f"{sum(target.holds for _, target in found)} of {len(found)} hold"
    show(table)


if __name__ == "__main__":
    main()
