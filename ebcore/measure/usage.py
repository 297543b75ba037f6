"""Which expert each image took in each binary layer (EBConv section 4.1)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from ebcore.files import atomic_write
from ebcore.layers import BinaryConv2d
from ebcore.layers.choices import expert_layers

ALL_CLASSES = "(all)"
COLUMNS = ("layer", "class_index", "class", "expert", "images", "share")


@contextmanager
def recorded_experts(model: nn.Module) -> Iterator[dict[str, BinaryConv2d]]:
    """Makes the expert layers keep their choices (`last_expert`) inside the block."""
    layers = expert_layers(model)
    before = {name: layer.record for name, layer in layers.items()}
    try:
        for layer in layers.values():
            layer.record = True
        yield layers
    finally:
        for name, layer in layers.items():
            layer.record = before[name]


def last_experts(layers: dict[str, BinaryConv2d], batch_size: int) -> Tensor:
    """The choices of the last forward pass: int64 [B, layers]."""
    chosen = []
    for name, layer in layers.items():
        assert layer.last_expert is not None, f"{name} has not run"
        chosen.append(layer.last_expert.cpu())
    return torch.stack(chosen, 1) if chosen else torch.empty(batch_size, 0, dtype=torch.int64)


def usage_counts(chosen: Tensor, labels: Tensor, experts: int, classes: int) -> Tensor:
    """Images per layer, class and expert: int64 [L, K, N].

    Args:
        chosen: int64 [B, L], the expert of each image in each layer.
        labels: int64 [B].
    """
    layers = chosen.shape[1]
    cell = (torch.arange(layers) * classes + labels[:, None]) * experts + chosen  # [B, L]
    counts = torch.bincount(cell.flatten(), minlength=layers * classes * experts)
    return counts.reshape(layers, classes, experts)


def usage_rows(counts: Tensor, layers: list[str], classes: list[str]) -> list[dict[str, object]]:
    """The table: a row per layer, class and expert, and per layer and expert over all classes.

    `share` is of the images of that class (or of all images) in that layer.
    """
    rows: list[dict[str, object]] = []
    for layer, per_class in zip(layers, counts, strict=True):
        groups = [(-1, ALL_CLASSES, per_class.sum(0))]
        groups += [(i, classes[i], per_class[i]) for i in range(len(classes))]
        for index, name, images in groups:
            total = max(int(images.sum()), 1)
            rows += [
                dict(
                    zip(
                        COLUMNS,
                        (layer, index, name, e, int(count), int(count) / total),
                        strict=True,
                    )
                )
                for e, count in enumerate(images)
            ]
    return rows


def write_usage(path: str | Path, rows: list[dict[str, object]]) -> None:
    """Writes the table as CSV; a network without experts gives the header only."""
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
