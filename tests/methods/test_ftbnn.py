"""FTBNN's variants: what they are, what they cost, and that they train, pack and agree."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch

from benchmarks.ftbnn import best_of, train
from ebcore.data.convert import convert
from ebcore.methods.ftbnn import (
    Variant,
    activation_variants,
    compression_variants,
    group_variants,
    operations,
    variant_params,
)
from ebcore.models import load_model, resnet
from ebcore.packed import pack
from ebcore.packed.agreement import agreement
from ebcore.params import load_params
from ebcore.workspace import BETON
from tests.train.conftest import Place, place

__all__ = ["place"]

PARAMS = load_params(Path(__file__).parents[2] / "params" / "digits.yaml")
BEST = Variant("x", "activation", {"activation": "prelu", "activation_position": "before"})
ALL = [*activation_variants(), *compression_variants(BEST), *group_variants(BEST)]


def count(variant: Variant):  # type: ignore[no-untyped-def]
    return operations(variant_params(PARAMS, variant, 0), 10)


def test_every_activation_comes_before_and_after_the_addition() -> None:
    places = [tuple(v.options.values()) for v in activation_variants()]
    assert len(set(places)) == len(places) == 8
    for activation in ("prelu", "two_slope_prelu", "shifted_prelu"):
        assert {(activation, "before"), (activation, "after")} <= set(places)
    assert {("none", None), ("relu", "before")} <= set(places)


def test_names_are_distinct_and_every_network_can_be_built() -> None:
    assert len({variant.name for variant in ALL}) == len(ALL)
    for variant in ALL:
        options = variant_params(PARAMS, variant, 0).model.model_dump()
        model = resnet(**options, experts=1, num_classes=10)
        assert model(torch.randn(2, 3, 16, 16)).shape == (2, 10)
        for option, value in variant.options.items():
            assert model.config[option] == value


def test_activations_and_groups_leave_the_binary_operations() -> None:
    # stem and stage 0: 4 channels of 16 px; later stages halve the side and double the channels
    one = 16 * 16 * 9 * 4 * 4
    baseline = 2 * one + 3 * (one // 2 + one)
    assert {count(variant).bops for variant in activation_variants()} == {baseline}
    groups, shuffled, mixed = (count(variant).bops for variant in group_variants(BEST))
    # E = 2: 8 channels in 4 groups; a 1x1 over all of them in each of 4 blocks
    assert groups == shuffled == baseline
    assert mixed == baseline + 4 * 16 * 16 * 8 * 8


def test_compression_leaves_no_real_convolution_but_the_stem() -> None:
    binary, concat = (count(variant) for variant in compression_variants(BEST))
    plain = count(BEST)
    for found in (binary, concat):
        kinds = [layer.kind for layer in found.layers if layer.flops]
        assert kinds.count("Conv2d") == 1
    # three shortcuts, I -> 2 I channels where 16 px halve: pixels * I * 2 I
    assert binary.bops - plain.bops == 64 * 4 * 8 + 16 * 8 * 16 + 4 * 16 * 32
    assert concat.bops == plain.bops and concat.flops < binary.flops < plain.flops
    assert concat.bits < binary.bits < plain.bits


def test_one_training() -> None:
    params = variant_params(PARAMS, BEST, 7)
    assert (params.seed, params.workers, params.train_one.distill) == (7, 1, None)
    assert params.data == PARAMS.data and not params.growth.structures


def test_the_best_has_the_highest_mean() -> None:
    a, b = (Variant(name, "activation", {}) for name in "ab")
    rows = [
        {"variant": name, "top1": top1}
        for name, top1 in (("a", 99.0), ("a", 90.0), ("b", 95.0), ("b", 96.0))
    ]
    assert best_of([a, b], rows) == b
    assert best_of([a, b], [{"variant": name, "top1": 1.0} for name in "ab"]) == a


@pytest.mark.slow
def test_a_variant_trains_and_its_packed_network_agrees(place: Place) -> None:
    content = {"data": {**place.content["data"], "loader": "folder"}}
    params = place.params(**content)
    convert(Path("images"), BETON, params.prepare, "folder", name="bands", progress=False)
    variant = Variant(
        "two-slopes",
        "activation",
        {"activation": "two_slope_prelu", "activation_position": "after", "shortcut": "concat"},
    )
    with contextlib.chdir(place.folder):
        result = train(params, variant, 0)
    assert 0 <= result["top1"] <= 100 and result["bops"] == count(variant).bops
    networks = [load_model(path) for path in Path(".runs").glob("*/final.safetensors")]
    stages = {network.metadata["stage"]: network for network in networks}
    assert set(stages) == {"train_one", "train_binary"}
    assert stages["train_binary"].config["activation"] == "two_slope_prelu"
    images = torch.randn(32, 3, 16, 16)
    report = agreement(stages["train_binary"], pack(stages["train_binary"], (3, 16, 16)), images)
    assert report.ok, report.violations
