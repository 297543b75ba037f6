"""Sign and its estimator."""

import torch

from ebcore.binarize import centred, hard_sign, sign, xnor_kernel


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


def test_centred_weights_have_no_mean_over_channels_and_lie_in_one() -> None:
    weight = torch.tensor([[3.0, -1.0], [0.25, 0.75]]).view(2, 2, 1, 1)
    # means 1 and 0.5: 2 and -2 are cut, -0.25 and 0.25 stay
    assert centred(weight).view(2, 2).tolist() == [[1, -1], [-0.25, 0.25]]


def test_xnor_kernel_by_hand() -> None:
    weight = torch.tensor([[0.5, -1.5], [0.0, -1.0]]).view(2, 2, 1, 1).requires_grad_()
    kernel = xnor_kernel(weight)
    assert kernel.view(2, 2).tolist() == [[1, -1], [0.5, -0.5]]  # alpha 1 and 0.5
    kernel.backward(torch.tensor([[1.0, 1.0], [2.0, 2.0]]).view(2, 2, 1, 1))
    assert weight.grad is not None
    # n = 2, I = 2: 2 (1 - 1/2) (alpha 1[|w| < 1] + 1/2) = alpha 1[|w| < 1] + 1/2
    expected = [[1 * (1 + 0.5), 1 * (0 + 0.5)], [2 * (0.5 + 0.5), 2 * (0 + 0.5)]]
    assert weight.grad.view(2, 2).tolist() == expected
