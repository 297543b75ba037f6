from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ebcore.errors import InputError
from ebcore.growth.structures import check_structures, find_structure, operations, variant
from ebcore.params import load_params
from tests.growth.conftest import ROOT, TINY, TINY_BOPS, study_params


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"colour": 1}, ["growth.structures.tiny.colour", "unknown parameter", "temperature"]),
        ({"spec": "1111"}, ["growth.structures.tiny.spec", "1111"]),
        ({"gate": "relu"}, ["growth.structures.tiny.gate", "relu", "sigmoid"]),
        ({"experts": 0}, ["growth.structures.tiny.experts", "0", "greater than or equal to 1"]),
        ({"series": None}, ["growth.structures.tiny.series", "valid string"]),
    ],
)
def test_a_bad_entry_is_named(changes: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        study_params(tiny={**TINY, **changes})
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["Big", "a.b", "a@b", "a b", ""])
def test_names_are_ones_that_dvc_takes(name: str) -> None:
    with pytest.raises(InputError, match=r"growth\.structures"):
        study_params(**{name: TINY})


def test_groups_that_do_not_divide_are_named() -> None:
    params = study_params(good=TINY, bad={**TINY, "spec": "1111-1-3:1:1:1"})
    with pytest.raises(InputError) as caught:
        check_structures(params)
    text = str(caught.value)
    assert text.startswith("params.yaml: growth.structures.bad: ")
    assert "8 -> 8 channels, not in 3 groups" in text


def test_an_ignored_gate_is_said() -> None:
    with pytest.warns(UserWarning, match=r"growth\.structures\.tiny: gate and temperature"):
        check_structures(study_params(tiny={**TINY, "temperature": 5.0}))


def test_an_unknown_name_gets_those_there_are() -> None:
    with pytest.raises(InputError, match=r"structures\.huge: is not in params.yaml. It has: tiny"):
        find_structure(study_params(tiny=TINY), "huge")


def test_a_variant_overrides_what_the_entry_sets_and_nothing_else() -> None:
    params = study_params(tiny=TINY)
    mine = variant(params, params.growth.structures["tiny"])
    assert (mine.model.spec, mine.model.pointwise) == ("1111-1-1:1:1:1", False)
    assert mine.model.width == 8 and mine.model.shortcut == "prelu"
    assert mine.train_one == params.train_one and mine.data == params.data
    assert params.model.spec == "1111-2-4:4:4:4"


def test_other_entries_are_no_part_of_a_variant() -> None:
    alone, beside = study_params(a=TINY), study_params(a=TINY, b={**TINY, "se": True})
    assert variant(alone, alone.growth.structures["a"]) == variant(
        beside, beside.growth.structures["a"]
    )


def test_the_study_has_no_teacher() -> None:
    params = load_params(ROOT / "params" / "imagenet-distilled.yaml")
    assert params.train_one.distill is not None
    structure = study_params(tiny=TINY).growth.structures["tiny"]
    mine = variant(params, structure)
    assert mine.train_one.distill is None and mine.train_experts.distill is None


def test_operations_are_those_of_the_binary_network() -> None:
    params = study_params(tiny=TINY, four={**TINY, "experts": 4})
    tiny, four = params.growth.structures.values()
    assert operations(params, tiny, 3).bops == TINY_BOPS
    assert operations(params, four, 3).bops == TINY_BOPS  # one of four is used
    weights = 9 * (2 * 8 * 8 + 8 * 16 + 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
    assert operations(params, tiny, 3).params_binary == weights
    assert operations(params, four, 3).params_binary == 4 * weights


@pytest.mark.parametrize("file", sorted((ROOT / "params").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_profile_can_be_built(file: Path) -> None:
    check_structures(load_params(file))


def test_moving_blocks_costs_nothing() -> None:
    """Table 3: a block is as expensive in each stage, beside the stage's first."""
    params = load_params(ROOT / "params" / "imagenet.yaml")
    names = ("2222-e1", "1133-e1", "1142-e1", "1124-e1")
    counts = {operations(params, params.growth.structures[name], 1000).bops for name in names}
    block = 2 * 56 * 56 * 64 * 64 * 9
    strided = 56 * 56 * 64 * 64 * 9 * 3 // 2  # its first 3x3 has half the inputs
    assert counts == {5 * block + 3 * strided}
