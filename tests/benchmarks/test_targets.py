"""Goals and what counts as reached, on rows by hand."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from benchmarks.targets import (
    TARGET_COLUMNS,
    Target,
    mark_layer,
    mark_loader,
    mark_network,
    targets,
)
from ebcore.measure.rows import COLUMNS, write_rows


def row(candidate: str, ms: float, packed_ms: float, network: str = "") -> dict[str, Any]:
    speedup = None if candidate == "packed" else ms / packed_ms
    return {"candidate": candidate, "ms": ms, "speedup": speedup, "network": network,
            "case": "64-64", "threads": 1}  # fmt: skip


def test_least_and_most() -> None:
    assert Target("", 16.0, 16).holds and not Target("", 15.99, 16).holds
    assert Target("", 0.92, 0.92, at_least=False).holds
    assert not Target("", 0.93, 0.92, at_least=False).holds
    assert Target("x", 3.0, 3.5).columns() == {
        "target": "x", "ratio": 3.0, "goal": ">= 3.5", "holds": "no"
    }  # fmt: skip


def test_a_layer_is_held_against_the_best_int8_without_amx() -> None:
    times = {"packed": 0.1, "onednn_fp32": 1.6, "torch_int8": 0.2, "torch_int8_no_amx": 0.5,
             "ort_int8": 0.45, "openvino_binary": 0.12}  # fmt: skip
    rows = [row(name, ms, 0.1) for name, ms in times.items()]
    rows.append(row("ncnn_fp32", 1, 0.1) | {"ms": None, "speedup": None})
    mark_layer(rows, stride=1)
    marked = {r["candidate"]: (round(r["ratio"], 6), r["goal"], r["holds"])
              for r in rows if "target" in r}  # fmt: skip
    assert marked == {
        "onednn_fp32": (16.0, ">= 16", "yes"),
        "ort_int8": (4.5, ">= 4", "yes"),
        "openvino_binary": (1.2, ">= 1.3", "no"),
    }


def test_without_amx_on_the_machine_every_int8_counts() -> None:
    rows = [row("packed", 0.1, 0.1), row("torch_int8", 0.3, 0.1), row("ort_int8", 0.5, 0.1)]
    mark_layer(rows, stride=2)
    assert [r["candidate"] for r in rows if "target" in r] == ["torch_int8"]


def test_networks_are_held_against_their_own_peer() -> None:
    rows = [
        row("packed", 4.6, 4.6, "bi-real-18"),
        row("packed", 4.0, 4.6, "1262-2-4:8:8:16 N=4"),
        row("packed", 3.9, 4.6, "1262-2-4:8:8:16"),
        row("openvino_int8", 2.0, 4.6, "resnet18"),
        row("openvino_int8_no_amx", 10.0, 4.6, "resnet18"),
        row("openvino_binary", 5.0, 4.6, "bi-real-18"),
    ]
    mark_network(rows)
    assert [(r["candidate"], round(r["ratio"], 6), r["goal"], r["holds"])
            for r in rows if "target" in r] == [
        ("openvino_int8_no_amx", 0.4, "<= 0.5", "yes"),
        ("openvino_binary", 0.92, "<= 0.92", "yes"),
    ]  # fmt: skip


def test_ffcv_is_held_against_torchvision() -> None:
    names = ("torchvision", "ffcv", "ffcv_raw", "ffcv_jpeg")
    rows: list[dict[str, Any]] = [
        {"candidate": name, "speedup": speedup, "threads": 2}
        for name, speedup in zip(names, (1.0, 2.4, 5.0, 2.0), strict=True)
    ]
    mark_loader(rows)
    assert [row.get("holds") for row in rows] == [None, "no", "yes", "no"]


def test_targets_are_read_back_from_the_files(tmp_path: Path) -> None:
    rows = [row("packed", 0.1, 0.1), row("openvino_binary", 0.12, 0.1)]
    mark_layer(rows, stride=1)
    write_rows(tmp_path / "layers.csv", (*COLUMNS, *TARGET_COLUMNS), rows)
    with open(tmp_path / "kernels.csv", "w", newline="") as file:
        writer = csv.writer(file)
        columns = ["kernel_share", "fused_share", "pointwise_share", "onednn_speedup"]
        writer.writerow(["layer", "packed_isa", "threads", *columns])
        writer.writerow(["64-64 3x3/1 g1 56x56", "avx512", "1", "0.89", "0.8", "", ""])
        writer.writerow(["64-64 3x3/1 g1 56x56", "avx2", "1", "0.1", "0.1", "", "5"])
        writer.writerow(["512-512 3x3/1 g1 7x7", "avx2", "1", "1.1", "1.0", "", "7.5"])
        writer.writerow(["128-128 3x3/1 g4 56x56", "avx512", "1", "0.81", "0.8", "", ""])
        writer.writerow(["64-64 1x1/1 g1 56x56", "avx512", "1", "0.4", "0.3", "0.83", ""])
        writer.writerow(["resnet18 body", "avx512", "1", "", "0.86", "", ""])
    found = [(name, t.ratio, t.limit, t.holds) for name, t in targets(tmp_path)]
    assert found == [
        ("kernels", 0.89, 0.9, False),
        ("kernels", 7.5, 8, False),
        ("kernels", 0.81, 0.8, True),
        ("kernels", 0.83, 0.8, True),
        ("kernels", 0.86, 0.85, True),
        ("layers", 1.2, 1.3, False),
    ]
