from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ebcore.errors import InputError
from ebcore.measure import benchmark as module
from ebcore.measure.benchmark import benchmark, benchmark_stage, floor_seconds, metrics_of
from ebcore.measure.cases import Work, layers_of
from ebcore.measure.machine import available_cores
from ebcore.measure.peers import LAYERS_ONLY, PACKED
from ebcore.measure.rows import COLUMNS
from ebcore.packed import PackedModel, pack
from ebcore.params import BenchmarkParams, Params, load_params
from ebcore.tables import benchmark_tables
from tests.hybrid_networks import small

PARAMS = Path(__file__).parents[2] / "params" / "digits.yaml"


def params() -> Params:
    quick = BenchmarkParams(repeats=3, batch_size=2, threads=1, min_seconds=0)
    return load_params(PARAMS).model_copy(update={"benchmark": quick})


def text_of(rows: list[dict[str, Any]]) -> str:
    console = Console(width=200, file=io.StringIO())
    for table in benchmark_tables(rows):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_floor_by_hand() -> None:
    limits = {"binary": 1000.0, "fp32": 100.0}
    work = Work(binary=2000, real=50)
    assert floor_seconds(work, "binary", limits, 1) == 2.0 + 0.5
    assert floor_seconds(work, "binary", limits, 2) == 1.25
    assert floor_seconds(Work(0, 50), "int8", limits, 1) is None, "its limit was not measured"
    assert floor_seconds(Work(0, 50), "int8", limits | {"int8": 400.0}, 1) == 0.125


def test_metrics_are_the_network_s_rows_by_candidate() -> None:
    spread = {"low_ms": 1.0, "high_ms": 3.0, "threads": 1, "batch_size": 2}
    network = {"kind": "network", **spread}
    rows = [
        {**network, "candidate": "packed", "ms": 2.0, "share": 0.5, "speedup": None},
        {**network, "candidate": "a", "ms": 8.0, "share": None, "speedup": 4.0},
        {**network, "candidate": "b"} | dict.fromkeys(("ms", "low_ms", "high_ms", "share"))
        | {"speedup": None},
        {"kind": "layer", **spread, "candidate": "c", "ms": 1.0, "share": None, "speedup": 9.0},
    ]  # fmt: skip
    assert metrics_of(rows) == {
        "packed_ms": 2, "packed_low_ms": 1, "packed_high_ms": 3, "packed_share": 0.5,
        "a_ms": 8, "a_low_ms": 1, "a_high_ms": 3, "speedup_a": 4, "threads": 1, "batch_size": 2,
    }  # fmt: skip


def test_a_row_for_each_case_and_candidate(packed: PackedModel) -> None:
    names = ("torch_fp32", "onednn_fp32")
    rows = benchmark(packed, names=names, batch_size=2, repeats=3, min_seconds=0)
    cases = ["network", *(case.name for case in layers_of(packed, 2))]
    assert [(r["case"], r["candidate"]) for r in rows] == [
        (case, name) for case in cases for name in (PACKED, *names)
    ]
    first = rows[0]
    for row in rows:
        assert tuple(row) == COLUMNS
        assert row["threads"] == 1 and row["cpu"] and row["binary_limit"] > row["fp32_limit"] > 0
        assert row["cores"] == str(available_cores()), "not those left by pinning"
        if row["note"]:
            assert row["ms"] is None and row["note"] == LAYERS_ONLY
            assert (row["case"], row["candidate"]) == ("network", "onednn_fp32")
            continue
        first = row if row["candidate"] == PACKED else first
        assert 0 < row["low_ms"] <= row["ms"] <= row["high_ms"]
        assert row["share"] == pytest.approx(row["floor_ms"] / row["ms"]) and row["share"] < 1.5
        expected = None if row is first else pytest.approx(row["ms"] / first["ms"])
        assert row["speedup"] == expected
    assert first["layers"], "the layers of a shape are named"
    text = text_of(rows)
    assert all(case in text for case in cases[1:]) and f"{rows[1]['speedup']:.1f}x" in text


def test_more_threads_than_cores_are_refused(packed: PackedModel) -> None:
    with pytest.raises(InputError, match="threads"):
        benchmark(packed, threads=available_cores() + 1)


def test_the_stage_s_metrics_are_its_csv_s(
    packed: PackedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "candidates", lambda flags, quick: ["torch_fp32"])
    monkeypatch.setattr(module, "STAGE_LAYER_PEERS", ())
    packed.save("packed/ebconv-2.ebp")
    metrics = benchmark_stage(params(), 2)
    assert json.loads(Path("metrics/benchmark-2.json").read_text()) == metrics
    with open("plots/benchmark-2.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["candidate"] for row in rows[:3]] == ["packed", "torch_fp32", "packed"]
    assert float(rows[1]["speedup"]) == pytest.approx(metrics["speedup_torch_fp32"], rel=1e-5)
    assert float(rows[0]["ms"]) == pytest.approx(metrics["packed_ms"], rel=1e-5)


def test_missing_packed_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"packed/ebconv-2\.ebp"):
        benchmark_stage(params(), 2)
    assert not Path("metrics").exists()


def test_a_packed_hybrid_network_is_measured(tmp_path: Path) -> None:
    file = tmp_path / "hybrid.ebp"
    pack(small("sketchanet", "hybrid").eval(), (3, 32, 32)).save(file)
    rows = benchmark(file, repeats=2, min_seconds=0, names=("torch_fp32",))
    network = {row["candidate"]: row for row in rows if row["kind"] == "network"}
    assert set(network) == {"packed", "torch_fp32"}
    assert network["packed"]["network"] == "sketchanet hybrid"
    assert all(row["ms"] > 0 for row in network.values())
    layers = {row["case"] for row in rows if row["kind"] == "layer"}
    assert len(layers) == 4  # of layers 2 to 6, whose inputs are binary: 4 and 5 are alike
