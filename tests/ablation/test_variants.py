from __future__ import annotations

from pathlib import Path

import pytest

from ebcore.ablation.variants import alone, check_variants
from ebcore.errors import InputError
from ebcore.methods.ftbnn import training
from ebcore.params import load_params, parse_params
from tests.ablation.conftest import BASE, CONCAT, ROOT, ablation_params


def test_the_default_profiles_variants_can_be_built() -> None:
    check_variants(load_params(ROOT / "params" / "digits.yaml"))


@pytest.mark.parametrize("file", sorted((ROOT / "params").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_profiles_variants_can_be_built(file: Path) -> None:
    params = load_params(file)
    check_variants(params.model_copy(update={"ftbnn": params.ftbnn.model_copy(
        update={"seeds": [0]})}))  # fmt: skip


def test_a_variant_that_cannot_be_is_named() -> None:
    params = ablation_params([0], base=BASE, bad={**BASE, "spec": "1111-1-3:1:1:1"})
    with pytest.raises(InputError) as caught:
        check_variants(params)
    assert str(caught.value).startswith("params.yaml: ftbnn.variants.bad: ")
    assert "4 -> 4 channels, not in 3 groups" in str(caught.value)


def test_without_seeds_or_variants_there_is_no_ablation() -> None:
    with pytest.raises(InputError, match=r"ftbnn\.seeds: is empty. Set it to \[0, 1, 2\]"):
        check_variants(ablation_params([], base=BASE))
    with pytest.raises(InputError, match=r"ftbnn\.variants: is empty"):
        check_variants(ablation_params([0]))


def test_one_training_knows_no_other_and_is_the_pipelines() -> None:
    params = ablation_params([0, 5], base=BASE, concat=CONCAT)
    mine = alone(params, "concat", 5)
    assert (mine.seed, mine.ftbnn.seeds, list(mine.ftbnn.variants)) == (5, [5], ["concat"])
    assert mine.ftbnn.model.shortcut == "concat" and params.ftbnn.model.shortcut == "plain"
    # what workers read back is the training that the pipeline would do
    read = parse_params(mine.model_dump(exclude_unset=True), "job.json")
    for stage in ("ftbnn_real", "ftbnn_binary"):
        ours, theirs = (training(stage, "concat-5", p) for p in (read, params))
        assert (ours.content, ours.train) == (theirs.content, theirs.train)
        assert ours.params.seed == theirs.params.seed == 5
