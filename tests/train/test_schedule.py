"""Learning rates by hand."""

import pytest

from ebcore.params import TrainParams
from ebcore.train.schedule import learning_rate


def test_warm_up_then_steps() -> None:
    train = TrainParams(
        epochs=75, batch_size=256, lr=1e-3, milestones=[40, 55, 65], warmup_epochs=10
    )
    expected = {0: 0, 5: 5e-4, 10: 1e-3, 39.99: 1e-3, 40: 1e-4, 55: 1e-5, 65: 1e-6, 74.9: 1e-6}
    for progress, rate in expected.items():
        assert learning_rate(train, progress) == pytest.approx(rate)


def test_cosine_ends_at_zero() -> None:
    train = TrainParams(epochs=11, batch_size=8, lr=2.0, schedule="cosine", warmup_epochs=1)
    assert learning_rate(train, 0.5) == 1.0
    assert learning_rate(train, 1) == 2.0
    assert learning_rate(train, 6) == pytest.approx(1.0)
    assert learning_rate(train, 11) == pytest.approx(0.0)
