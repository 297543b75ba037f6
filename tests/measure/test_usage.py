from __future__ import annotations

import csv
from pathlib import Path

import torch

from ebcore.layers.choices import expert_layers
from ebcore.measure.usage import (
    COLUMNS,
    last_experts,
    recorded_experts,
    usage_counts,
    usage_rows,
    write_usage,
)
from ebcore.models import resnet

# Four images in two layers: layer 0 takes experts 0 1 1 1, layer 1 takes 2 2 0 2.
CHOSEN = torch.tensor([[0, 2], [1, 2], [1, 0], [1, 2]])
LABELS = torch.tensor([0, 0, 1, 1])


def test_counts_by_hand() -> None:
    counts = usage_counts(CHOSEN, LABELS, experts=3, classes=2)
    assert counts.tolist() == [
        [[1, 1, 0], [0, 2, 0]],  # layer 0: class 0 once each, class 1 only expert 1
        [[0, 0, 2], [1, 0, 1]],
    ]


def test_rows_by_hand() -> None:
    counts = usage_counts(CHOSEN, LABELS, experts=3, classes=2)
    rows = usage_rows(counts, ["a", "b"], ["cat", "dog"])
    assert len(rows) == 2 * (1 + 2) * 3
    shares = {(r["layer"], r["class"], r["expert"]): r["share"] for r in rows}
    assert shares["a", "(all)", 0] == 1 / 4 and shares["a", "(all)", 1] == 3 / 4
    assert shares["a", "cat", 0] == 1 / 2 and shares["a", "dog", 1] == 1
    assert shares["b", "dog", 0] == 1 / 2 and shares["b", "cat", 2] == 1


def test_a_class_without_images_has_share_0() -> None:
    counts = usage_counts(CHOSEN, LABELS, experts=3, classes=3)
    rows = usage_rows(counts, ["a", "b"], ["cat", "dog", "emu"])
    assert {r["share"] for r in rows if r["class"] == "emu"} == {0.0}


def test_choices_are_those_of_the_gates() -> None:
    model = resnet("1111-1-1:1:1:1", experts=3, num_classes=2, stem="small", width=8, stem_width=8)
    model.eval()
    for layer in expert_layers(model).values():
        bias = layer.gate.linear.bias  # a large bias decides, whatever the image
        torch.nn.init.constant_(bias, 0)
        bias.data[2] = 1e6
    with recorded_experts(model) as layers, torch.no_grad():
        model(torch.randn(5, 3, 8, 8))
        chosen = last_experts(layers, 5)
    assert chosen.shape == (5, 12) and set(chosen.flatten().tolist()) == {2}
    assert list(layers)[:2] == ["stages.0.0.0.conv", "stages.0.0.1.conv"]
    assert not any(layer.record for layer in layers.values())


def test_one_expert_has_no_layers_to_choose_in() -> None:
    model = resnet("1111-1-1:1:1:1", experts=1, num_classes=2, stem="small", width=8, stem_width=8)
    assert expert_layers(model) == {}
    assert last_experts({}, 5).shape == (5, 0)


def test_csv(tmp_path: Path) -> None:
    row = ("a", 0, "x,y", 1, 3, 0.5)
    write_usage(tmp_path / "usage.csv", [dict(zip(COLUMNS, row, strict=True))])
    with open(tmp_path / "usage.csv", newline="") as file:
        assert list(csv.reader(file)) == [list(COLUMNS), ["a", "0", "x,y", "1", "3", "0.5"]]
