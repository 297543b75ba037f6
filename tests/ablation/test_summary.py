"""Means, standard deviations and verdicts, by hand."""

from __future__ import annotations

import pytest

from ebcore.ablation.runs import Run
from ebcore.ablation.summary import Spread, best, spread, summaries


def runs(variant: str, *top1: float) -> list[Run]:
    return [
        Run(variant, "s", "", seed, value, value + 1, 10, 20, 30, 13, 7.0, 360)
        for seed, value in enumerate(top1)
    ]


def test_the_standard_deviation_divides_by_one_less() -> None:
    # deviations -2, 0, 2: (4 + 0 + 4) / 2 = 4
    assert spread([95.0, 97.0, 99.0]) == Spread(97.0, 2.0)
    assert spread([97.0]) == Spread(97.0, None)
    assert (str(Spread(97.0, 2.0)), str(Spread(97.0, None))) == ("97.00 +- 2.00", "97.00")


@pytest.mark.parametrize(
    ("other", "overlap"),
    [((94.0, 1.0), True), ((93.9, 1.0), False), ((100.1, 1.0), False), ((96.0, 0.0), True)],
)
def test_intervals_overlap_or_not(other: tuple[float, float], overlap: bool) -> None:
    assert Spread(97.0, 2.0).overlaps(Spread(*other)) is overlap
    assert Spread(*other).overlaps(Spread(97.0, 2.0)) is overlap


def test_each_variant_is_held_against_the_first() -> None:
    found = summaries(
        [*runs("base", 95, 97, 99), *runs("near", 94, 95, 96), *runs("far", 91, 92, 93)]
    )
    assert [s.first.variant for s in found] == ["base", "near", "far"]
    assert [s.difference for s in found] == [None, -2.0, -5.0]  # 97 +- 2, 95 +- 1, 92 +- 1
    assert [s.within_spread for s in found] == [None, True, False]
    assert [s.verdict for s in found][1:] == ["within the spread", "beyond the spread"]
    assert found[0].top1_real_weights == Spread(98.0, 2.0)


def test_the_best_and_what_the_seeds_do_not_tell_from_it() -> None:
    found = summaries(
        [*runs("base", 95, 96, 97), *runs("top", 96, 98, 100), *runs("low", 80, 81, 82)]
    )
    top, near = best(found)
    assert top.first.variant == "top" and [s.first.variant for s in near] == ["base"]
    equal, _ = best(summaries([*runs("a", 96, 96), *runs("b", 96, 96)]))
    assert equal.first.variant == "a"


def test_one_seed_has_no_verdict() -> None:
    found = summaries([*runs("base", 95), *runs("other", 99)])
    assert found[1].verdict == "one seed" and best(found)[1] == []
