"""The study's table, plot and page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ebcore.errors import InputError
from ebcore.growth.collect import collect_stage, paper_points
from ebcore.growth.files import REPORT, TABLE, point_file
from ebcore.growth.plot import accuracy_plot
from ebcore.growth.points import Point
from tests.growth.conftest import TINY, study_params

RESULT = {"top1": 90.0, "top5": 99.5, "best_top1": 91.0, "loss": 0.3, "epochs": 3.0,
          "seconds": 12.5, "classes": 3}  # fmt: skip


def write_point(name: str, **changes: Any) -> None:
    point_file(name).parent.mkdir(parents=True, exist_ok=True)
    point_file(name).write_text(json.dumps({**RESULT, **changes}))


def point(name: str, bops: int, top1: float, series: str = "E = 1") -> Point:
    return Point(name, series, "1111-1-1:1:1:1", "", 1, bops, 1, 1, 1, top1, 99.0, 3, 1.0)


def test_the_page_and_the_plot_hold_every_name_and_series(in_tmp: Path) -> None:
    params = study_params(left=TINY, right={**TINY, "series": "more <groups>", "pointwise": True})
    write_point("left")
    write_point("right", top1=95.25)
    write_point("removed", top1=1.25)
    assert collect_stage(params) == {"top1_left": 90.0, "top1_right": 95.25}
    page, plot = (REPORT / "index.html").read_text(), (REPORT / "accuracy.svg").read_text()
    for text in (page, plot):
        for word in ("left", "right", "E = 1", "more &lt;groups&gt;", "BOPs", "top-1"):
            assert word in text
        assert "removed" not in text
    assert "95.25" in page and "1111-1-1:1:1:1" in page
    assert "removed" not in TABLE.read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # loads nothing
    assert plot.startswith('<svg xmlns="http://www.w3.org/2000/svg"')


def test_equal_results_give_equal_bytes(in_tmp: Path) -> None:
    params = study_params(left=TINY)
    write_point("left")
    files = (TABLE, REPORT / "accuracy.svg", REPORT / "index.html")
    collect_stage(params)
    first = [file.read_bytes() for file in files]
    collect_stage(params)
    assert [file.read_bytes() for file in files] == first


def test_a_missing_result_names_the_stage_that_makes_it(in_tmp: Path) -> None:
    with pytest.raises(InputError, match=r"left\.json: cannot .*growth/dvc.yaml:growth@left"):
        collect_stage(study_params(left=TINY))


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_damaged_result_names_the_stage_that_makes_it(in_tmp: Path, text: str) -> None:
    write_point("left")
    point_file("left").write_text(text)
    with pytest.raises(InputError, match=r"left\.json: is no result.*growth@left"):
        collect_stage(study_params(left=TINY))


def test_an_empty_study_is_refused(in_tmp: Path) -> None:
    with pytest.raises(InputError, match=r"growth\.structures: is empty"):
        collect_stage(study_params())


def test_the_papers_points_are_drawn_where_asked() -> None:
    points = [point("mine", 1_676_000_000, 63.0)]
    assert "paper, Fig. 2a" not in accuracy_plot(points)
    drawn = accuracy_plot(points, paper_points())
    for figure in ("2a", "2b", "3"):
        assert f"paper, Fig. {figure}" in drawn
    assert "GBOPs" in drawn
    hollow = len(re.findall(r"fill: none; stroke: #7f7f7f", drawn))
    assert hollow >= len(paper_points()) > 30


def test_labels_of_close_points_do_not_cover_each_other() -> None:
    points = [point(f"network-{i}", 5_000_000, 90.0 + i / 100) for i in range(4)]
    points.append(point("far", 9_000_000, 50.0))  # beside it the others are one spot
    drawn = accuracy_plot(points)
    places = re.findall(r'x="([\d.]+)" y="([\d.]+)"[^>]*>network-\d', drawn)
    assert len(places) == 4
    boxes = [(float(x), float(y)) for x, y in places]
    for i, (x, y) in enumerate(boxes):
        for other_x, other_y in boxes[:i]:
            assert abs(y - other_y) >= 6 or abs(x - other_x) >= 30  # 7 pt letters, 9 of them
