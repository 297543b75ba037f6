"""The agreement report: silent on a faithful packing, loud on every kind of unfaithful one."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ebcore.models import EBResNet
from ebcore.packed import PackedModel, agreement, pack
from ebcore.packed.graph import Bits, Graph

LAYER = "stages.1.0.1.conv"


@pytest.fixture
def case(network: Callable[..., EBResNet]) -> tuple[EBResNet, PackedModel, Tensor]:
    model = network(experts=3)
    return model, pack(model, (3, 8, 8)), torch.randn(12, 3, 8, 8)


def _tampered(packed: PackedModel, change: Callable[[Graph], None]) -> PackedModel:
    graph = copy.deepcopy(packed.graph)
    change(graph)
    return PackedModel(graph)


def test_faithful_packing(case: tuple[EBResNet, PackedModel, Tensor]) -> None:
    model, packed, images = case
    with torch.no_grad():
        labels = model(images).argmax(1)
    report = agreement(model, packed, images, labels, batch_size=5)
    assert report.ok and report.violations == []
    assert report.images == 12
    assert report.reference_correct == 12
    assert torch.equal(report.reference_top1, labels)
    assert report.top1_changes == int((report.packed_top1 != labels).sum())
    assert report.worst_logit < 1e-5


def test_one_wrong_weight_bit(case: tuple[EBResNet, PackedModel, Tensor]) -> None:
    model, packed, images = case

    def flip(graph: Graph) -> None:
        bits = graph.tensors[f"{LAYER}.bits"]
        assert isinstance(bits, Bits)
        per_expert = bits.data.size // 3
        for expert in range(3):  # whichever expert is chosen
            bits.data[expert * per_expert] ^= 1

    report = agreement(model, _tampered(packed, flip), images)
    assert any(v.startswith(f"layer {LAYER}: ") and "not exact" in v for v in report.violations)


@pytest.mark.parametrize(
    ("slot", "violation"),
    [
        ("in_shift", "sign bits differ away from zero"),
        ("scale", "outputs differ"),
        ("slope", "outputs differ"),
        ("gate_bias", "experts differ away from a tie"),
    ],
)
def test_altered_parameters(
    slot: str, violation: str, case: tuple[EBResNet, PackedModel, Tensor]
) -> None:
    model, packed, images = case

    def change(graph: Graph) -> None:
        node = next(node for node in graph.nodes if node.name == LAYER)
        values = graph.tensors[node.tensors[slot]]
        assert isinstance(values, np.ndarray)
        graph.tensors[node.tensors[slot]] = np.ascontiguousarray(
            values + (np.arange(values.size, dtype=np.float32) if slot == "gate_bias" else 0.1)
            * (100 if slot == "gate_bias" else 1),
            np.float32,
        )  # fmt: skip

    report = agreement(model, _tampered(packed, change), images)
    assert any(v.startswith(f"layer {LAYER}: ") and violation in v for v in report.violations)
    assert not report.ok


def test_a_real_layer_counts_too(case: tuple[EBResNet, PackedModel, Tensor]) -> None:
    model, packed, images = case

    def change(graph: Graph) -> None:
        values = graph.tensors["fc.bias"]
        assert isinstance(values, np.ndarray)
        values[0] += 1e-2

    report = agreement(model, _tampered(packed, change), images)
    assert any(v.startswith("layer fc: outputs") for v in report.violations)
    assert any(v.startswith("image ") and "logits differ" in v for v in report.violations)


def test_flip_at_zero_is_listed_but_allowed() -> None:
    # The reference computes 1 + x - 1 = 0 where the packed graph keeps -1e-8: both are within
    # rounding of zero, and the sign differs.
    from torch import nn

    from ebcore.layers import BinaryConv2d

    norm = nn.BatchNorm2d(2).eval()
    model = nn.Sequential(norm, BinaryConv2d(2, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    images = torch.ones(2, 2, 3, 3)
    images[1, 0, 0, 0] = 0.0
    packed = pack(model, (2, 3, 3))
    shift = packed.graph.tensors["0.shift"]
    assert isinstance(shift, np.ndarray)
    shift[0] = -1e-8
    report = agreement(model, PackedModel(packed.graph), images)
    assert report.violations == []
    assert [(image.index, image.layer, image.bits) for image in report.listed] == [(1, "1", 1)]
    assert report.listed_share == 1 / 2
    assert sum(layer.flips for layer in report.layers) == 1
    shift[0] = -1e-3  # now beyond 1e-5 of the rms, 1
    images[1, 0, 0, 0] = 5e-4
    report = agreement(model, PackedModel(packed.graph), images)
    assert any("sign bits" in v for v in report.violations)
    assert any(v.startswith("image 1: ") for v in report.violations)


def test_accuracies_further_apart_than_allowed(
    case: tuple[EBResNet, PackedModel, Tensor],
) -> None:
    model, packed, images = case

    def change(graph: Graph) -> None:
        weight = graph.tensors["fc.weight"]
        assert isinstance(weight, np.ndarray)
        weight *= -1

    with torch.no_grad():
        labels = model(images).argmax(1)
    report = agreement(model, _tampered(packed, change), images, labels)
    assert any(v.startswith("top-1: ") for v in report.violations)
    assert report.top1_difference is not None and report.top1_difference < -0.1


def test_model_is_left_as_it_was(case: tuple[EBResNet, PackedModel, Tensor]) -> None:
    model, packed, images = case
    model.train()
    agreement(model, packed, images)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert model.get_submodule(LAYER).record is False
