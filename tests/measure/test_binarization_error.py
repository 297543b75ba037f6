"""Binarization errors by hand, in a network, and as a batch size leaves them."""

import pytest
import torch
from torch import nn

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d
from ebcore.measure.binarization_error import binarization_errors


def test_by_hand() -> None:
    model = nn.Sequential(BinaryConv2d(1, 1, 1))
    images = torch.tensor([[0.5, -1.5, 1.0, 0.0], [3.0, 1.0, 1.0, 1.0]]).view(2, 1, 2, 2)
    found = binarization_errors(model, [images])["0"]
    # (1/4 + 1/4 + 0 + 1) / 4 and (4 + 0 + 0 + 0) / 4; sign(0) = +1
    assert found.error == pytest.approx((1.5 / 4 + 1) / 2)
    assert found.power == pytest.approx(((0.25 + 2.25 + 1) / 4 + (9 + 3) / 4) / 2)


def test_it_is_of_the_values_before_the_sign_and_of_binary_inputs_alone() -> None:
    norm = nn.BatchNorm2d(2, eps=0.0)
    norm.running_mean.fill_(1.0)
    model = nn.Sequential(norm, BinaryConv2d(2, 2, 1), BinaryConv2d(2, 2, 1)).train()
    model[2].binary_input = False
    found = binarization_errors(model, [torch.full((3, 2, 4, 4), 1.25)])
    assert list(found) == ["1"]
    assert found["1"].error == pytest.approx(0.75**2)  # 1.25 - 1 against +1
    assert model.training and norm.training and norm.num_batches_tracked == 0


def test_batches_do_not_matter() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(BinaryConv2d(3, 4, 3), BinaryConv2d(4, 4, 3))
    images = torch.randn(7, 3, 8, 8)
    one = binarization_errors(model, [images])
    many = binarization_errors(model, images.split(2))
    for name in ("0", "1"):
        assert one[name].error == pytest.approx(many[name].error, rel=1e-6)


def test_nothing_to_measure() -> None:
    model = nn.Sequential(BinaryConv2d(1, 1, 1))
    with pytest.raises(InputError, match="has no images"):
        binarization_errors(model, [])
    model[0].binary_input = False
    with pytest.raises(InputError, match="no layer with binary inputs"):
        binarization_errors(model, [torch.zeros(1, 1, 2, 2)])
