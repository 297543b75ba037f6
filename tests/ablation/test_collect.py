"""The ablation's table, plot and page."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from ebcore.ablation.collect import collect_stage
from ebcore.ablation.files import REPORT, TABLE, point_file
from ebcore.ablation.runs import read_runs
from ebcore.errors import InputError
from ebcore.methods.ftbnn import operations
from tests.ablation.conftest import BASE, CONCAT, ablation_params, write_results

FILES = (TABLE, REPORT / "accuracy.svg", REPORT / "index.html")


def test_a_row_for_each_variant_and_seed_and_the_page_says_what_came_out(in_tmp: Path) -> None:
    odd = {**BASE, "series": "a <b>", "activation": "relu"}
    params = ablation_params([0, 1], base=BASE, concat=CONCAT, odd=odd)
    write_results("base", [96.0, 98.0])  # 97 +- 1.41
    write_results("concat", [95.0, 96.0])  # 95.5 +- 0.71
    write_results("odd", [80.0, 81.0])
    write_results("removed", [99.9, 99.9])
    means = {"top1_base": 97.0, "top1_concat": 95.5, "top1_odd": 80.5}
    assert collect_stage(params) == means

    with open(TABLE, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["variant"], row["seed"], float(row["top1"])) for row in rows] == [
        ("base", "0", 96.0), ("base", "1", 98.0), ("concat", "0", 95.0), ("concat", "1", 96.0),
        ("odd", "0", 80.0), ("odd", "1", 81.0),
    ]  # fmt: skip
    count = operations(params, "concat", 10)
    assert (int(rows[2]["bops"]), int(rows[2]["flops"])) == (count.bops, count.flops)
    assert (int(rows[2]["bits"]), rows[2]["options"]) == (count.bits, "shortcut=concat")
    assert (rows[2]["series"], rows[2]["epochs"], rows[2]["images"]) == ("compression", "13", "360")

    plot, page = (path.read_text() for path in FILES[1:])
    for word in ("base", "concat", "odd", "compression", "a &lt;b&gt;", "binary MOPs"):
        assert word in plot and word in page
    assert "removed" not in page + plot + TABLE.read_text()
    words = " ".join(page.split())
    assert (
        "Best measured: <strong>base</strong>, 97.00 +- 1.41 %. Within its spread: concat." in words
    )
    assert "0.28 points" in words  # 100 / 360
    assert re.search(r"<td>-1\.50</td>\s*<td class=\"text\">within the spread</td>", page)
    assert re.search(r"<td>-16\.50</td>\s*<td class=\"text\">beyond the spread</td>", page)
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # loads nothing


def test_equal_results_give_equal_bytes(in_tmp: Path) -> None:
    params = ablation_params([0], base=BASE)
    write_results("base", [96.0])
    collect_stage(params)
    first = [path.read_bytes() for path in FILES]
    collect_stage(params)
    assert [path.read_bytes() for path in FILES] == first
    assert b"One seed says nothing about the spread" in first[2]


def test_a_missing_result_names_the_stage_that_makes_it(in_tmp: Path) -> None:
    with pytest.raises(InputError, match=r"base\.json: cannot .*ablation/dvc.yaml:ablation@base"):
        read_runs(ablation_params([0], base=BASE))


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_damaged_result_names_the_stage_that_makes_it(in_tmp: Path, text: str) -> None:
    write_results("base", [96.0])
    point_file("base").write_text(text)
    with pytest.raises(InputError, match=r"base\.json: is no result.*ablation@base"):
        read_runs(ablation_params([0], base=BASE))


def test_a_seed_without_a_result_names_the_stage_and_no_other_counts(in_tmp: Path) -> None:
    write_results("base", [96.0, 97.0])
    assert [run.seed for run in read_runs(ablation_params([1], base=BASE))] == [1]
    with pytest.raises(
        InputError, match=r"base\.json: is no result of the ablation.*ablation@base"
    ):
        read_runs(ablation_params([0, 1, 2], base=BASE))
