"""The parts of the linearity benchmark."""

from __future__ import annotations

import pytest
import torch

from benchmarks._linearity_plot import linearity_plot
from benchmarks.linearity import INPUTS, SIZE, WEIGHTS, digits, squared_error, train
from ebcore.measure.linearity import linearity, quantization_error


def test_the_penalty_is_the_quantization_error() -> None:
    v = torch.tensor([[3.0, -1.0], [2.0, 2.0]])
    # rows: 1 - 2^2 / 5 = 0.2 and 1 - 2^2 / 4 = 0
    assert squared_error(v) == pytest.approx((0.2 + 0) / 2)
    values = torch.randn(100)
    assert float(squared_error(values)) == pytest.approx(quantization_error(values) ** 2, rel=1e-5)


def test_the_split_is_the_pipelines() -> None:
    data = digits()
    (images, labels), (held, expected) = data["train"], data["val"]
    assert images.shape == (1437, 1, SIZE, SIZE) and held.shape == (360, 1, SIZE, SIZE)
    assert sorted(set(labels.tolist())) == sorted(set(expected.tolist())) == list(range(10))
    together = torch.cat([images, held]).flatten(1)
    assert float(together.mean()) == pytest.approx(0, abs=1e-5)
    assert float(together.std()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("penalised", "key"), [(INPUTS, "input_error"), (WEIGHTS, "weight_error")])
def test_a_penalty_lowers_its_error(penalised: str, key: str) -> None:
    images, labels = (part[:128] for part in digits()["train"])
    errors = []
    for penalty in (0.0, 30.0):
        model = train(penalised, penalty, 0, images, labels, epochs=4)
        layers = linearity(model, [images], [images], positions=4)
        errors.append(sum(getattr(layer, key) for layer in layers) / len(layers))
    assert errors[1] < 0.95 * errors[0]


def test_the_plot_has_a_panel_per_error_and_a_line_per_layer() -> None:
    rows = [
        {"penalised": what, "penalty": penalty, "seed": seed, "layer": f"stages.{layer}.0.0.conv",
         "r2": 0.8, "input_error": 0.5, "weight_error": 0.4}
        for what, penalty in (("nothing", 0.0), (INPUTS, 3.0), (WEIGHTS, 3.0))
        for seed in (0, 1)
        for layer in (0, 1)
    ]  # fmt: skip
    drawn = linearity_plot(rows)
    assert drawn.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    for words in ("0.0.0", "1.0.0", "penalty 0", "penalty 3"):
        assert drawn.count(f">{words}<") == 1
    for what in (INPUTS, WEIGHTS):
        assert f"quantization error of the {what}" in drawn
    # a panel: for each of 2 layers the means without and with a penalty, 2 + 2 seeds
    dots = drawn.count("fill-opacity: 0.45")
    assert dots == 2 * 2 * (2 + 2)
