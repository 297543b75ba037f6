"""What the gates choose, counted while a network trains."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ebcore.layers.choices import expert_layers
from ebcore.models import EBResNet, resnet
from ebcore.train.gates import GateTally, GateUse


def network(experts: int, bias: list[float] | None = None) -> EBResNet:
    """Two layers a block and a pointwise one, four stages: 12 layers with experts.

    With a bias, each gate's logits are that, whatever the image.
    """
    torch.manual_seed(0)
    model = resnet(
        "1111-1-1:1:1:1", experts=experts, num_classes=2, stem="small", width=8, stem_width=8
    )
    for layer in expert_layers(model).values():
        if bias is not None:
            nn.init.zeros_(layer.gate.linear.weight)
            layer.gate.linear.bias.data = torch.tensor(bias)
    return model


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_shares_and_entropies_by_hand() -> None:
    model = network(2, bias=[math.log(3), 0.0])  # softmax: 3/4, 1/4
    tally = GateTally(model, training=True)
    model(images(4))
    model(images(2))
    use = tally.use(tally.take())
    assert use.counts.tolist() == [[6, 0]] * 12
    values = use.values("gate")
    key = "gate/stages.0.0.0.conv"
    assert values[f"{key}/expert_0"] == 1 and values[f"{key}/expert_1"] == 0
    assert values[f"{key}/usage_entropy"] == 0
    bits = 3 / 4 * math.log2(4 / 3) + 1 / 4 * math.log2(4)
    assert values[f"{key}/choice_entropy"] == pytest.approx(bits, rel=1e-6)  # of log2(2) = 1
    assert len(values) == 12 * 4


def test_all_experts_alike_is_an_entropy_of_1() -> None:
    use = GateUse(["a"], torch.tensor([[5.0, 5, 5, 5]]), torch.tensor([20 * 2.0]))
    assert use.values("g")["g/a/usage_entropy"] == use.values("g")["g/a/choice_entropy"] == 1
    assert use.idle("training") == ""


def test_processes_add_up_and_idle_experts_are_named() -> None:
    model = network(3, bias=[0.0, 1e6, 0.0])
    tally = GateTally(model, training=True)
    model(images(5))
    both = [a + b for a, b in zip(tally.take(), tally.take(), strict=True)]
    use = tally.use(both)
    assert use.counts[0].tolist() == [0, 10, 0]
    assert use.idle("training").startswith(
        "experts that no training image of this epoch took: stages.0.0.0.conv: 0, 2; stages.0.0.1"
    )


def test_the_choices_are_those_the_layers_make() -> None:
    model = network(4)
    layers = expert_layers(model)
    for layer in layers.values():
        layer.record = True
    tally = GateTally(model, training=True)
    model(images(16))
    counts = tally.use(tally.take()).counts
    for row, layer in zip(counts, layers.values(), strict=True):
        assert layer.last_expert is not None
        assert row.tolist() == torch.bincount(layer.last_expert, minlength=4).tolist()
    assert (counts > 0).sum() > len(layers)  # not one expert everywhere


def test_the_two_modes_are_counted_apart() -> None:
    model = network(2)
    training, scored = GateTally(model, training=True), GateTally(model, training=False)
    model.train()(images(3))
    with torch.inference_mode():
        model.eval()(images(7))
    assert training.use(training.take()).counts.sum(1).tolist() == [3] * 12
    assert scored.use(scored.take()).counts.sum(1).tolist() == [7] * 12


def test_sums_are_put_back() -> None:
    model = network(2)
    tally = GateTally(model, training=True)
    model(images(3))
    kept = tally.take()
    tally.put([])
    assert tally.take() == [0.0] * len(kept)
    tally.put(kept)
    assert tally.take() == kept


def test_counting_changes_no_gradient() -> None:
    gradients = []
    for counted in (False, True):
        model = network(2)
        if counted:
            GateTally(model, training=True)
        model(images(6)).square().sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert all(map(torch.equal, *gradients))


def test_one_expert_has_nothing_to_count() -> None:
    model = network(1)
    tally = GateTally(model, training=True)
    model(images(2))
    assert tally.take() == []
    assert tally.use([]).values("gate") == {}
