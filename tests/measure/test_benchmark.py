from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from ebcore.errors import InputError
from ebcore.measure.benchmark import benchmark, benchmark_stage, milliseconds
from ebcore.measure.machine import available_cores
from ebcore.measure.rows import COLUMNS, TIMES
from ebcore.measure.timing import Timing
from ebcore.packed import PackedModel
from ebcore.params import BenchmarkParams, Params, load_params
from ebcore.tables import benchmark_table

PARAMS = Path(__file__).parents[2] / "params" / "digits.yaml"


def params() -> Params:
    quick = BenchmarkParams(repeats=3, batch_size=2, threads=1, min_seconds=0)
    return load_params(PARAMS).model_copy(update={"benchmark": quick})


def test_times_and_speed_ups_by_hand() -> None:
    times = {"packed": Timing(0.002, 0.001, 0.003, 9), "fp32": Timing(0.05, 0.04, 0.06, 9)}
    row = milliseconds(times)
    assert (row["packed_low_ms"], row["packed_ms"], row["packed_high_ms"]) == (1, 2, 3)
    assert row["speedup_fp32"] == 25
    assert row["int8_ms"] is None and row["speedup_int8"] is None


def test_a_row_for_the_network_and_each_binary_layer(packed: PackedModel) -> None:
    rows = benchmark(packed, batch_size=2, repeats=3, min_seconds=0)
    assert [row["case"] for row in rows] == ["network", *packed.binary_layers]
    for row in rows:
        assert set(row) == set(COLUMNS)
        assert row["packed_low_ms"] <= row["packed_ms"] <= row["packed_high_ms"]
        assert row["speedup_fp32"] == pytest.approx(row["fp32_ms"] / row["packed_ms"])
        assert (row["int8_ms"] is None) == bool(row["note"]), "missing int8 has its reason"
        assert row["threads"] == 1 and row["experts"] == 2 and row["cpu"]
        assert row["cores"] == str(available_cores()), "not those left by pinning"
    assert rows[2]["shape"] == "16-16 3x3/1 g2 8x8"


def test_more_threads_than_cores_are_refused(packed: PackedModel) -> None:
    with pytest.raises(InputError, match="threads"):
        benchmark(packed, threads=available_cores() + 1)


def test_the_stage_s_metrics_are_its_csv_s_and_the_table_s(
    packed: PackedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    packed.save("packed/ebconv-2.ebp")
    metrics = benchmark_stage(params(), 2)
    assert json.loads(Path("metrics/benchmark-2.json").read_text()) == metrics
    with open("plots/benchmark-2.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS and rows[0]["kind"] == "network"
    assert float(rows[0]["speedup_fp32"]) == pytest.approx(metrics["speedup_fp32"], rel=1e-5)
    numbers = {**rows[0], **{key: metrics.get(key) for key in (*TIMES, "speedup_int8")}}
    numbers["speedup_fp32"], numbers["threads"] = metrics["speedup_fp32"], 1
    console = Console(width=200, file=io.StringIO())
    console.print(benchmark_table([numbers]))
    assert f"{metrics['speedup_fp32']:.1f}x" in console.file.getvalue()


def test_missing_packed_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"packed/ebconv-2\.ebp"):
        benchmark_stage(params(), 2)
    assert not Path("metrics").exists()
