from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ebcore.errors import InputError
from ebcore.params import Params
from ebcore.report import report_stage
from tests.report.made_up import (
    ftbnn_params,
    hybrid_params,
    write_ftbnn,
    write_hybrid,
    write_network,
)

Results = Callable[[list[int]], Params]


def test_page_holds_every_count_and_its_figures(results: Results) -> None:
    metrics = report_stage(results([1, 4]))
    page = Path("report/ebconv.html").read_text()
    assert metrics == {
        "packed_top1_1": 96.5,
        "packed_top1_4": 96.5,
        "speedup_torch_fp32_1": pytest.approx(11.5),
        "speedup_torch_fp32_4": pytest.approx(11.5),
    }
    assert "11.5\N{MULTIPLICATION SIGN}" in page
    assert "N = 4, by expert of 3.0.2" in page  # Fig. 1b
    assert "N = 1: one expert, nothing to choose" in page
    # accuracy, latency, 3 x 2 curves, N = 4: 2 of usage; 2 embeddings for N = 4, 1 for N = 1
    assert page.count("<svg") == 2 + 6 + 2 + 3


def with_other_methods(params: Params) -> Params:
    write_hybrid({"fbin": [91.0, 92.0], "hybrid": [94.0, 95.0]}, {0: [6], 1: [10]})
    write_ftbnn({"baseline": [96.0], "relu": [95.0]})
    write_network("hybrid_train-1", 95.0, packed=0.05, torch_fp32=1.0)
    params = ftbnn_params(hybrid_params(params, [0, 1]), [0], ["baseline", "relu"])
    return params.model_copy(update={"networks": ["hybrid_train-1"]})


def test_pages_load_nothing_and_link_to_each_other(results: Results) -> None:
    metrics = report_stage(with_other_methods(results([2])))
    assert metrics["packed_top1_hybrid_train-1"] == 95.0
    pages = {path.name: path.read_text() for path in Path("report").glob("*.html")}
    assert set(pages) == {"index.html", "ebconv.html", "hybrid.html", "ftbnn.html"}
    for name, page in pages.items():
        found = re.findall(r"""(?:src|href|srcset|action|data)\s*=\s*["\']([^"\']*)""", page)
        links = {target for target in found if not target.startswith(("#", "data:"))}
        assert links == set(pages) - {name}
        assert any(target.startswith("#") for target in found), "figures have their own clip paths"
        assert all(t.startswith("#") for t in re.findall(r"url\(\s*['\"]?([^)'\"]*)", page))
        assert "<script" not in page and "@import" not in page and "http" not in page
    summary = json.loads(Path("report/summary.json").read_text())
    assert [row["network"] for row in summary["networks"]] == [2, "hybrid_train-1"]
    hybrid, ftbnn = summary["methods"]["hybrid"], summary["methods"]["ftbnn"]
    assert hybrid["versions"]["hybrid"]["top1"]["mean"] == 94.5
    assert hybrid["choices"]["1"]["chosen"] == [10]
    assert ftbnn["claim"]["outcome"] == "better"
    assert ftbnn["variants"]["relu"]["top1_real_weights"]["values"] == [96.0]


def test_methods_without_seeds_have_neither_page_nor_row(results: Results) -> None:
    report_stage(results([1]))
    assert {path.name for path in Path("report").iterdir()} == {
        *("index.html", "ebconv.html", "summary.json")
    }
    index = Path("report/index.html").read_text()
    assert "ebconv.html" in index and "hybrid" not in index and "ftbnn" not in index
    assert "claims" not in index


def test_summary_holds_the_table_s_numbers(results: Results) -> None:
    report_stage(results([2]))
    summary = json.loads(Path("report/summary.json").read_text())
    (branch,) = summary["branches"]
    assert branch["experts"] == 2
    assert branch["train_one"]["top1"] == 95.5
    assert branch["pack"]["file_bytes"] == 29_000
    assert len(branch["usage"]) == 12 and len(branch["usage"]["stages.3.0.2.conv"]) == 2
    network, *layers = branch["benchmark_cases"]
    assert network["case"] == "network" and len(layers) == 12
    assert layers[0]["candidates"]["torch_int8"]["ms"] == 0.31
    assert list(summary["candidates"].values()) == ["packed", "torch fp32", "torch int8"]
    assert summary["machine"]["cpu"] == "Test CPU"


def test_same_inputs_give_the_same_bytes_in_another_process(results: Results) -> None:
    """Also under another hash seed: no set or dict order may show."""
    params = with_other_methods(results([2]))
    report_stage(params)
    Path("params.json").write_text(params.model_dump_json(exclude_unset=True))
    digests = [_digest()]
    code = (
        "from pathlib import Path; from ebcore.params import Params;"
        "from ebcore.report import report_stage;"
        "report_stage(Params.model_validate_json(Path('params.json').read_text()))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    digests.append(_digest())
    assert digests[0] == digests[1]


def _digest() -> list[str]:
    return [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path("report").iterdir())
    ]


def test_files_of_unlisted_counts_are_not_read(results: Results) -> None:
    params = results([1, 2])
    report_stage(params)
    before = _digest()
    for folder, ending in (("metrics", "json"), ("plots", "csv"), ("evaluation", "safetensors")):
        for name in ("pack-16", "train_binary-16", "evaluate-16", "benchmark-16", "16"):
            Path(folder, f"{name}.{ending}").write_bytes(b"\x00not a result")
    report_stage(params)
    assert _digest() == before


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("metrics/train_one.json", "train_one"),
        ("plots/train_experts-2.csv", "train_experts@2"),
        ("metrics/pack-2.json", "pack@2"),
        ("plots/benchmark-2.csv", "benchmark@2"),
        ("evaluation/2.safetensors", "evaluate@2"),
    ],
)
def test_missing_file_names_the_stage_to_run(results: Results, path: str, stage: str) -> None:
    params = results([2])
    Path(path).unlink()
    with pytest.raises(InputError, match=re.escape(f"{path}: does not exist")) as error:
        report_stage(params)
    assert str(error.value).endswith(f"`dvc repro {stage}`.")
    assert not Path("report").exists()


def test_damaged_file_is_named(results: Results) -> None:
    params = results([2])
    Path("metrics/pack-2.json").write_text('{"file_bytes": 3')
    with pytest.raises(InputError, match=r"metrics/pack-2\.json: is damaged"):
        report_stage(params)


def test_missing_int8_is_a_dash(results: Results) -> None:
    params = results([2])
    path = Path("metrics/benchmark-2.json")
    metrics = json.loads(path.read_text())
    kept = {key: value for key, value in metrics.items() if "int8" not in key}
    assert len(kept) < len(metrics)
    path.write_text(json.dumps(kept))
    report_stage(params)
    assert "<td>\N{EN DASH}</td>" in Path("report/ebconv.html").read_text()
