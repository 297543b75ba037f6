from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ebcore.errors import InputError
from ebcore.params import Params
from ebcore.report.ftbnn.inputs import read_ftbnn
from ebcore.report.ftbnn.page import render_ftbnn
from ebcore.report.ftbnn.summary import summarize_ftbnn
from tests.report.made_up import ftbnn_params, write_ftbnn

Results = Callable[[list[int]], Params]
TOP1 = {"baseline": [95.0, 96.0, 97.0], "relu": [96.0, 97.0, 98.0]}


def page_of(params: Params) -> str:
    results = read_ftbnn(params)
    found = summarize_ftbnn(params, results, 10)
    data = {"name": "digits", "validation_images": 360}
    methods = {"ebconv": {}, "ftbnn": found}
    summary = {"profile": "digits", "data": data, "methods": methods, "networks": []}
    page = render_ftbnn(summary, results)
    assert page.count("<svg") == 4 * len(params.ftbnn.compared)  # accuracy, loss; two steps
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_a_baseline_worse_than_relu_is_said_to_be(results: Results) -> None:
    write_ftbnn(TOP1)
    text = page_of(ftbnn_params(results([]), [0, 1, 2], ["baseline", "relu"]))
    assert "at least as good as the same network with ReLU: not in this run; it is worse." in text
    plus_minus = "\N{PLUS-MINUS SIGN} 1.00"
    assert f"96.00 {plus_minus} % against 97.00 {plus_minus} %, 3 seeds" in text
    assert "better 0, equal 0 and worse 3 times" in text
    assert f"97.00 {plus_minus} 96.00, 97.00, 98.00" in text  # the baseline's real weights by seed
    assert "groups-shuffle" in text and "make ablation" in text


def test_without_relu_the_claim_is_said_to_be_open(results: Results) -> None:
    write_ftbnn({"baseline": [95.0], "none": [94.0]})
    params = ftbnn_params(results([]), [0], ["baseline", "none"])
    text = page_of(params)
    assert "Not measured in this run" in text
    assert "activation: none, activation_position: \N{EN DASH}" in text
    assert summarize_ftbnn(params, read_ftbnn(params), 10)["claim"] is None


def test_operations_of_a_variant(results: Results) -> None:
    write_ftbnn({"baseline": [95.0], "relu": [94.0]})
    params = ftbnn_params(results([]), [0], ["baseline", "relu"])
    found = summarize_ftbnn(params, read_ftbnn(params), 10)["variants"]
    first, second = 4 * 4 * 9 * 256, 3 * (4 * 8 * 9 * 64 + 8 * 8 * 9 * 64)  # halved, doubled
    assert found["baseline"]["bops"] == found["relu"]["bops"] == 2 * first + second
    # two-slope PReLU has two slopes for each output channel of 8 layers
    channels = 2 * (4 + 8 + 16 + 32)
    assert found["baseline"]["bits"] - found["relu"]["bits"] == 32 * 2 * channels


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("metrics/ftbnn_real-relu-1.json", "ftbnn_real@relu-1"),
        ("plots/ftbnn_binary-baseline-2.csv", "ftbnn_binary@baseline-2"),
    ],
)
def test_a_missing_file_names_the_stage_to_run(results: Results, path: str, stage: str) -> None:
    write_ftbnn(TOP1)
    params = ftbnn_params(results([]), [0, 1, 2], ["baseline", "relu"])
    Path(path).unlink()
    with pytest.raises(InputError, match=re.escape(f"{path}: does not exist")) as error:
        read_ftbnn(params)
    assert str(error.value).endswith(f"`dvc repro {stage}`.")
