"""A non-finite number stops training before it reaches the weights."""

import pytest
import torch
from torch import nn

from ebcore.errors import InputError
from ebcore.train.finite import check_finite


def model_with_gradients() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model(torch.ones(1, 2)).sum().backward()
    return model


def test_finite_numbers_pass() -> None:
    check_finite(model_with_gradients(), torch.tensor(1.0), 3, 0, torch.arange(4))


def test_a_bad_gradient_is_named_with_step_and_batch() -> None:
    model = model_with_gradients()
    assert model[1].weight.grad is not None
    model[1].weight.grad[0, 1] = torch.nan
    with pytest.raises(InputError) as caught:
        check_finite(model, torch.tensor(1.0), 7, 2, torch.tensor([5, 6]))
    text = str(caught.value)
    for part in ("step 7 (epoch 2)", "gradient of 1.weight", "2 samples: 5, 6"):
        assert part in text


def test_a_bad_loss_is_named() -> None:
    with pytest.raises(InputError, match="the loss is not finite"):
        check_finite(model_with_gradients(), torch.tensor(torch.inf), 0, 0, torch.arange(1))
