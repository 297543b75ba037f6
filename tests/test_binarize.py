"""Sign and its estimator."""

import torch

from ebcore.binarize import hard_sign, sign


def test_sign_of_zero_is_plus_one_for_both_zeros() -> None:
    values = torch.tensor([-2.0, -1e-30, -0.0, 0.0, 1e-30, 3.0])
    assert sign(values).tolist() == [-1, -1, 1, 1, 1, 1]
    assert hard_sign(values.double()).dtype == torch.float64


def test_gradient_passes_strictly_inside_one() -> None:
    values = torch.tensor([-1.5, -1.0, -0.99, 0.0, 0.5, 1.0, 2.0], requires_grad=True)
    sign(values).backward(torch.arange(1.0, 8.0))
    assert values.grad is not None
    assert values.grad.tolist() == [0, 0, 3, 4, 5, 0, 0]


def test_nan_stays_nan() -> None:
    assert hard_sign(torch.tensor([torch.nan, 1.0])).isnan().tolist() == [True, False]
