from __future__ import annotations

import pytest

from ebcore.report.page import between, spread_text
from ebcore.report.spread import compare, spread


def test_mean_and_sample_deviation_of_three() -> None:
    found = spread([97.0, 98.0, 99.0])
    # the deviations are -1, 0, 1: sqrt((1 + 0 + 1) / (3 - 1)) = 1
    assert found == {"values": [97.0, 98.0, 99.0], "mean": 98.0, "std": 1.0, "seeds": 3}
    assert spread_text(found) == "98.00 \N{PLUS-MINUS SIGN} 1.00"


def test_one_seed_has_no_deviation() -> None:
    assert spread([97.5])["std"] is None
    assert spread_text(spread([97.5])) == "97.50"
    assert compare([97.5], [97.0])["settled"] is None


def test_better_in_the_mean_but_not_in_every_seed() -> None:
    found = compare([98.0, 97.0, 99.0], [97.0, 98.0, 97.0])
    assert (found["outcome"], found["holds"]) == ("better", True)
    assert (found["better"], found["equal"], found["worse"]) == (2, 0, 1)
    # the differences 1, -1, 2 have the mean 2 / 3 and the squares 1/9, 25/9, 16/9 around it
    assert found["difference"]["mean"] == pytest.approx(2 / 3)
    assert found["difference"]["std"] == pytest.approx((42 / 9 / 2) ** 0.5)
    assert found["settled"] is False


def test_worse_is_worse() -> None:
    found = compare([90.0, 91.0], [95.0, 95.5])
    assert (found["outcome"], found["holds"], found["settled"]) == ("worse", False, True)
    assert (found["better"], found["equal"], found["worse"]) == (0, 0, 2)


def test_equal_means_hold_whatever_the_rounding() -> None:
    ours = [100 * right / 360 for right in (340, 340, 342)]
    other = [100 * right / 360 for right in (334, 334, 354)]  # as many images
    found = compare(ours, other)
    assert 0 < abs(found["difference"]["mean"]) < 1e-12
    assert (found["outcome"], found["holds"]) == ("equal", True)
    assert compare([97.5, 98.0], [97.5, 98.0])["equal"] == 2


def test_a_range_only_where_numbers_differ() -> None:
    assert between([2_000_000, 2_000_000]) == "2 M"
    assert between([2_500, 1_000], "B") == "1 kB to 2.5 kB"
