"""The parts of the linearity benchmark."""

from __future__ import annotations

import pytest
import torch

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
