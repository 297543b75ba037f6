"""FTBNN's variants: what they are, what they cost, and what a training is told of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ebcore.errors import InputError
from ebcore.measure.ops import OpCount
from ebcore.methods.ftbnn import operations, start_model, training, variant_model
from ebcore.models import EBResNet, resnet
from ebcore.models.binarization import binary_convs
from ebcore.models.checkpoint import save_model
from ebcore.params import load_params
from ebcore.train.training import Training
from ebcore.workspace import checkpoint_file

PARAMS = load_params(Path(__file__).parents[2] / "params" / "digits.yaml")
VARIANTS = PARAMS.ftbnn.variants


def count(name: str) -> OpCount:
    return operations(PARAMS, name, 10)


def of_series(series: str) -> list[str]:
    return [name for name, variant in VARIANTS.items() if variant.series == series]


def is_binary(model: EBResNet) -> set[tuple[bool, bool]]:
    """(inputs, weights) of its binary convolutions."""
    return {(conv.binary_input, conv.binary_weight) for conv in binary_convs(model).values()}


def test_every_activation_comes_before_and_after_the_addition() -> None:
    models = [variant_model(PARAMS, name) for name in of_series("activation")]
    places = [(model.activation, model.activation_position) for model in models]
    assert len(set(places)) == len(places) == 8
    for activation in ("prelu", "two_slope_prelu", "shifted_prelu"):
        assert {(activation, "before"), (activation, "after")} <= set(places)
    assert {("none", None), ("relu", "before")} <= set(places)
    assert variant_model(PARAMS, "baseline") == PARAMS.ftbnn.model


@pytest.mark.parametrize("name", VARIANTS)
def test_every_network_can_be_built(name: str) -> None:
    model = resnet(**variant_model(PARAMS, name).model_dump(), experts=1, num_classes=10)
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 10)
    for option, value in VARIANTS[name].overrides.items():
        assert model.config[option] == value


def test_activations_and_groups_leave_the_binary_operations() -> None:
    # stem and stage 0: 4 channels of 16 px; later stages halve the side and double the channels
    one = 16 * 16 * 9 * 4 * 4
    baseline = 2 * one + 3 * (one // 2 + one)
    assert {count(name).bops for name in of_series("activation")} == {baseline}
    groups, shuffled, mixed = (count(name).bops for name in of_series("groups"))
    # E = 2: 8 channels in 4 groups; a 1x1 over all of them in each of 4 blocks
    assert groups == shuffled == baseline
    assert mixed == baseline + 4 * 16 * 16 * 8 * 8


def test_compression_leaves_no_real_convolution_but_the_stem() -> None:
    binary, concat = (count(name) for name in of_series("compression"))
    plain = count("baseline")
    for found in (binary, concat):
        kinds = [layer.kind for layer in found.layers if layer.flops]
        assert kinds.count("Conv2d") == 1
    # three shortcuts, I -> 2 I channels where 16 px halve: pixels * I * 2 I
    assert binary.bops - plain.bops == 64 * 4 * 8 + 16 * 8 * 16 + 4 * 16 * 32
    assert concat.bops == plain.bops and concat.flops < binary.flops < plain.flops
    assert concat.bits < binary.bits < plain.bits


def test_a_training_is_its_variants_network_with_its_seed() -> None:
    first, second = (training(s, "relu-2", PARAMS) for s in ("ftbnn_real", "ftbnn_binary"))
    assert (first.params.seed, second.params.seed, PARAMS.seed) == (2, 2, 0)
    assert first.content == second.content == {
        "model": {**PARAMS.ftbnn.model.model_dump(), "activation": "relu"}
    }  # fmt: skip
    assert (first.train, second.train) == (PARAMS.ftbnn.train_real, PARAMS.ftbnn.train_binary)
    assert (first.start, second.start) == (None, checkpoint_file("ftbnn_real", "relu-2"))


@pytest.mark.parametrize(
    ("stage", "item", "reason"),
    [
        ("ftbnn_real", "relu-7", r"ftbnn_real@relu-7: is not in params\.yaml.*seeds: \[0, 1, 2\]"),
        ("ftbnn_real", "relu", r"ftbnn_real@relu: is not in params\.yaml"),
        ("ftbnn_real", "gelu-0", r"ftbnn\.variants\.gelu: is not in params\.yaml.*baseline"),
        ("ftbnn_third", "relu-0", "trains nothing. Use one of ftbnn_real, ftbnn_binary"),
    ],
)
def test_what_is_not_there_is_bad_input(stage: str, item: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        training(stage, item, PARAMS)


def test_the_first_step_starts_from_the_seed_with_binary_inputs() -> None:
    def started(item: str) -> EBResNet:
        return start_model(training("ftbnn_real", item, PARAMS), 10)

    one, same, other = (started(item) for item in ("relu-0", "relu-0", "relu-1"))
    assert is_binary(one) == {(True, False)}
    assert one.config["activation"] == "relu" and one.config["experts"] == 1
    assert torch.equal(one.stem[0].weight, same.stem[0].weight)
    assert not torch.equal(one.stem[0].weight, other.stem[0].weight)


def test_the_second_step_goes_on_from_the_first_with_binary_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    second: Training = training("ftbnn_binary", "relu-0", PARAMS)
    with pytest.raises(InputError, match="ftbnn_real-relu-0"):
        start_model(second, 10)
    first = start_model(training("ftbnn_real", "relu-0", PARAMS), 10)
    assert second.start is not None
    save_model(second.start, first, {"stage": "ftbnn_real"})
    model = start_model(second, 10)
    assert is_binary(model) == {(True, True)}
    assert model.config == first.config
    assert torch.equal(model.fc.weight, first.fc.weight)
