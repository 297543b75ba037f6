from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ebcore.errors import InputError
from ebcore.params import Params
from ebcore.report.hybrid.inputs import read_hybrid
from ebcore.report.hybrid.page import render_hybrid
from ebcore.report.hybrid.summary import summarize_hybrid
from tests.report.made_up import hybrid_params, write_hybrid

CHOSEN = {0: [6, 10, 14], 1: [6], 2: [6, 10, 14]}
TOP1 = {
    "fbin": [90.0, 91.0, 92.0],
    "hybrid": [93.0, 94.0, 96.0],
    "wbin": [97.0, 97.0, 97.0],
}


@pytest.fixture
def params(results: Callable[[list[int]], Params]) -> Params:
    """Three seeds whose files are in the current folder."""
    write_hybrid(TOP1, CHOSEN)
    return hybrid_params(results([]), [0, 1, 2], ["wbin"])


def summary_of(found: dict[str, Any]) -> dict[str, Any]:
    data = {"name": "digits", "validation_images": 360}
    methods = {"ebconv": {}, "hybrid": found}
    return {"profile": "digits", "data": data, "methods": methods, "networks": []}


def test_the_page_says_who_is_better_and_which_layers_were_chosen(params: Params) -> None:
    results = read_hybrid(params)
    page = render_hybrid(summary_of(summarize_hybrid(params, results, 10)), results)
    text = " ".join(re.sub(r"<[^>]*>", "", page).split())
    assert "Hybrid at least as good as fully binary: it is better in this run." in text
    # 93, 94, 96: deviations -4/3, -1/3, 5/3, squares 42/9, over 2: 2.333
    assert "94.33 \N{PLUS-MINUS SIGN} 1.53 % against 91.00 \N{PLUS-MINUS SIGN} 1.00 %" in text
    assert "it is better 3, equal 0 and worse 0 times" in text
    assert "one validation image is 0.28" in text  # 100 / 360
    for drawn in ("seed 0: layers 6, 10, 14", "seed 1: layer 6<"):
        assert drawn in page
    assert "None is listed under networks" in text
    assert page.count("<svg") == 1 + 2 * 3  # partition; accuracy and loss of three versions
    assert "fprec" not in text


def test_operations_by_hand(params: Params) -> None:
    found = summarize_hybrid(params, read_hybrid(params), 10)["versions"]
    stem = 3 * 8 * 9 * 256  # 16x16 px
    first, later = 4 * (8 * 8 * 9 * 256), 3 * (8 * 16 * 9 * 64 + 3 * 16 * 16 * 9 * 64)
    shortcuts, last = 3 * (8 * 16 * 64), 64 * 10  # stages halve the sides and double the channels
    assert found["fbin"]["paper"]["flops"] == [stem + (first + later + shortcuts + last) / 64] * 3
    assert found["wbin"]["paper"]["flops"] == [stem + first + later + shortcuts + last / 64] * 3
    real = 8 * 16 * 9 * 64  # of layer 6, 10, 14 each
    assert found["hybrid"]["paper"]["flops"] == [
        stem + shortcuts + count * real + (first + later + last - count * real) / 64
        for count in (3, 1, 3)
    ]
    # a layer of binary weights and inputs is binary work, one of real inputs is not
    assert found["hybrid"]["ours"]["bops"] == [first + later - c * real for c in (3, 1, 3)]
    assert found["wbin"]["ours"]["bops"] == [0, 0, 0]


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("metrics/hybrid_fbin-1.json", "hybrid_fbin@1"),
        ("plots/hybrid_train-2.csv", "hybrid_train@2"),
        ("metrics/hybrid_compared-wbin-0.json", "hybrid_compared@wbin-0"),
        ("plots/hybrid_partition-0.csv", "hybrid_partition@0"),
    ],
)
def test_a_missing_file_names_the_stage_to_run(params: Params, path: str, stage: str) -> None:
    Path(path).unlink()
    with pytest.raises(InputError, match=re.escape(f"{path}: does not exist")) as error:
        read_hybrid(params)
    assert str(error.value).endswith(f"`dvc repro {stage}`.")
