"""The winner-takes-all gate: Eq. 3 forward, Eq. 4 backward."""

import pytest
import torch

from ebcore.layers import Gate


def gate_with(logits_weight: list[list[float]], **options: object) -> Gate:
    gate = Gate(len(logits_weight[0]), len(logits_weight), **options)  # type: ignore[arg-type]
    with torch.no_grad():
        gate.linear.weight.copy_(torch.tensor(logits_weight))
        gate.linear.bias.zero_()
    return gate.double()


def test_forward_is_one_hot_and_ties_go_to_the_lowest_index() -> None:
    gate = gate_with([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    pooled = torch.tensor([[2.0, 1.0], [1.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    assert gate(pooled).tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("temperature", [0.02, 1.0, 5.0])
def test_backward_is_the_softmax_jacobian(temperature: float) -> None:
    gate = gate_with([[1.0, 0.0], [0.0, 1.0]], temperature=temperature)
    pooled = torch.tensor([[0.3, 0.1]], dtype=torch.float64, requires_grad=True)
    gate(pooled).backward(torch.tensor([[2.0, 5.0]], dtype=torch.float64))
    s = torch.softmax(torch.tensor([0.3, 0.1], dtype=torch.float64) / temperature, 0).tolist()
    # dz_j = sum_k g_k s_k (delta_kj - s_j) / tau, and here z = pooled
    expected = [
        sum(g * s[k] * ((k == j) - s[j]) for k, g in enumerate([2.0, 5.0])) / temperature
        for j in range(2)
    ]
    assert pooled.grad is not None
    assert pooled.grad[0].tolist() == pytest.approx(expected)


def test_sigmoid_gate_has_a_diagonal_jacobian() -> None:
    gate = gate_with([[1.0, 0.0], [0.0, 1.0]], activation="sigmoid")
    pooled = torch.tensor([[0.3, 0.1]], dtype=torch.float64, requires_grad=True)
    gate(pooled).backward(torch.tensor([[2.0, 5.0]], dtype=torch.float64))
    s = torch.sigmoid(torch.tensor([0.3, 0.1], dtype=torch.float64)).tolist()
    assert pooled.grad is not None
    assert pooled.grad[0].tolist() == pytest.approx([2 * s[0] * (1 - s[0]), 5 * s[1] * (1 - s[1])])


def test_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="'softmax' or 'sigmoid'"):
        Gate(2, 2, "tanh")
