from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ebcore.errors import InputError
from ebcore.params import Params
from ebcore.report.ebconv.inputs import read_branch
from ebcore.report.networks import deployed_networks
from ebcore.report.overview import ebconv_trainings
from ebcore.report.page import render_page
from ebcore.report.spread import compare
from ebcore.report.tradeoff import accuracy_by_operations, accuracy_by_size
from tests.report.made_up import hybrid_params, write_network

Results = Callable[[list[int]], Params]
NETWORKS = ["hybrid_compared-wbin-1", "hybrid_train-0", "ftbnn_binary-prelu-after-2"]


def listed(params: Params) -> Params:
    """With the packed networks of two other methods."""
    write_network(NETWORKS[0], 97.5, packed=0.05, torch_fp32=1.0, ort_fp32=0.25, ort_int8=0.1)
    write_network(NETWORKS[1], 96.5, packed=0.05, torch_fp32=1.0)
    write_network(NETWORKS[2], 95.5, packed=0.05, torch_fp32=1.0)
    params = hybrid_params(params, [0, 1], ["wbin"])
    return params.model_copy(update={"networks": NETWORKS})


def rows_of(params: Params) -> list[dict[str, Any]]:
    return deployed_networks(params, [read_branch(params, n) for n in params.experts])


def test_a_row_per_network_of_every_method(results: Results) -> None:
    params = listed(results([1, 4]))
    rows = rows_of(params)
    named = [(r["network"], r["method"], r["variant"], r["about"], r["seed"]) for r in rows]
    assert named == [
        (1, "ebconv", "N = 1", "one expert", 0),
        (4, "ebconv", "N = 4", "4 experts", 0),
        (NETWORKS[0], "hybrid", "wbin", "binary weights, real inputs", 1),
        (NETWORKS[1], "hybrid", "hybrid", "binary weights, some real inputs", 0),
        (
            *(NETWORKS[2], "ftbnn", "prelu-after"),
            *("activation: prelu, activation_position: after", 2),
        ),
    ]
    # the fastest real-valued peer in fp32, not int8: 0.25 / 0.05 = 5 times the packed one's time
    assert rows[2]["fp32"] == {"title": "ONNX Runtime fp32", "ms": 0.25, "speedup": 5.0}
    assert rows[2]["operations"] == 4.1e5 + 6.4e6 / 64
    for plot in (accuracy_by_size(rows), accuracy_by_operations(rows)):
        for label in ("N = 4", "wbin", "prelu-after", "Hybrid Binary Networks"):
            assert label in plot


def test_a_missing_network_names_the_stage_to_run(results: Results) -> None:
    params = listed(results([1]))
    path = Path("metrics/benchmark-hybrid_train-0.json")
    path.unlink()
    with pytest.raises(InputError, match=re.escape(f"{path}: does not exist")) as error:
        rows_of(params)
    assert str(error.value).endswith("`dvc repro benchmark_network@hybrid_train-0`.")


def test_a_shared_training_counts_once(results: Results) -> None:
    params = results([1, 4])
    branches = [read_branch(params, n) for n in params.experts]
    # train_one for both, train_experts and train_binary of each; 12 s each
    assert ebconv_trainings(branches) == {"trainings": 1 + 2 * 2, "seconds": 5 * 12.0}


@pytest.mark.parametrize(
    ("hybrid", "said"),
    [
        ([98.0, 97.0], "it is better in this run."),
        ([97.0, 96.0], "it is equal in this run."),
        ([96.0, 95.0], "not in this run; it is worse."),
    ],
)
def test_the_entry_page_says_how_a_claim_came_out(
    results: Results, hybrid: list[float], said: str
) -> None:
    params = listed(results([1]))
    claim = compare(hybrid, [97.0, 96.0])
    methods = {
        "ebconv": {"trainings": 3, "seconds": 36.0},
        "hybrid": {"claim": claim, "seeds": [0, 1], "trainings": 6, "seconds": 72.0},
    }
    data = {"name": "digits", "classes": 10, "image_size": 16, "validation_images": 360}
    about = {"profile": "digits", "seed": 0, "workers": 2, "machine": {"cpu": "Test CPU"}}
    summary = {**about, "data": {**data, "sha256": "0"}, "networks": rows_of(params)}
    page = render_page(
        "overview.html",
        current="index",
        summary={**summary, "methods": methods},
        by_size="",
        by_operations="",
    )
    text = " ".join(re.sub(r"<[^>]*>", " ", page).split())
    assert f"Hybrid at least as good as fully binary: {said}" in text
    assert "ReLU:" not in text and 'href="ftbnn.html">FTBNN</a>\n' not in page.split("<header>")[0]
    assert "5.0\N{MULTIPLICATION SIGN}, ONNX Runtime fp32" in text
