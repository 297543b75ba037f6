"""Hybrid Binary Networks (Prabhu et al., WACV 2018), step by step.

1. hybrid_fbin: the network with binary weights and inputs is trained.
2. hybrid_partition: each layer's binarization error on training images and its operations make a
   metric; k-means on it chooses the layers that keep real inputs.
3. hybrid_train: the hybrid, weights binary everywhere, is trained from scratch (the released
   scripts resume nothing).

hybrid_fprec and hybrid_wbin train the two versions that it is compared with.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ebcore.errors import InputError
from ebcore.files import atomic_write
from ebcore.measure.binarization_error import BinarizationError, binarization_errors
from ebcore.measure.hybrid_cost import layer_macs
from ebcore.methods.partition import (
    Partition,
    PartitionOptions,
    choose_layers,
    layer_metrics,
)
from ebcore.models.architectures import build
from ebcore.models.hybrid_net import HybridNet

COLUMNS = ("layer", "name", "error", "power", "macs", "metric", "cluster", "real_input")


@dataclass(frozen=True)
class Step:
    """One training step of the recipe.

    Attributes:
        stage: its name in dvc.yaml and params.yaml.
        title: for logs and reports.
        version: of the network, see `ebcore.models.hybrid_net.Version`.
        needs_partition: whether step 2 decides the network's layers.
    """

    stage: str
    title: str
    version: str
    needs_partition: bool = False


STEPS = {
    step.stage: step
    for step in (
        Step("hybrid_fprec", "nothing binary", "fprec"),
        Step("hybrid_wbin", "binary weights, real inputs", "wbin"),
        Step("hybrid_fbin", "binary weights and inputs", "fbin"),
        Step("hybrid_train", "binary weights, some real inputs", "hybrid", needs_partition=True),
    )
}


def start_network(
    step: Step,
    settings: dict[str, Any],
    num_classes: int,
    seed: int,
    real_inputs: tuple[int, ...] = (),
) -> HybridNet:
    """The network that a step trains, with random weights.

    Args:
        settings: "architecture", a name of `ebcore.models.architectures.HYBRID`, and arguments of
            its function; `binary_last` counts for no step without binary weights.
        real_inputs: the chosen layers, for a step that needs the partition.

    Raises:
        InputError: settings that the architecture refuses.
    """
    config = settings | {"version": step.version, "num_classes": num_classes}
    if step.version == "fprec":
        config["binary_last"] = False
    if step.needs_partition:
        config["real_inputs"] = real_inputs
    torch.manual_seed(seed)
    model = build(config)
    assert isinstance(model, HybridNet)
    return model


@dataclass(frozen=True)
class Measured:
    """Step 2's outcome: the partition, and what it was made of, by layer number."""

    partition: Partition
    names: dict[int, str]
    errors: dict[int, BinarizationError]
    macs: dict[int, int]

    def rows(self) -> list[dict[str, object]]:
        """A row per layer, of `COLUMNS`."""
        found = self.partition
        return [
            {
                "layer": n,
                "name": name,
                "error": self.errors[n].error,
                "power": self.errors[n].power,
                "macs": self.macs[n],
                "metric": found.metric[n],
                "cluster": found.cluster.get(n, ""),
                "real_input": int(n in found.chosen),
            }
            for n, name in self.names.items()
        ]


def measure_partition(
    model: HybridNet,
    batches: Iterable[Tensor],
    input_size: tuple[int, int, int],
    options: PartitionOptions,
) -> Measured:
    """Step 2 on a trained fully binary network.

    Args:
        batches: training images, float32 [B, C, H, W].
        input_size: C, H, W of an image.

    Raises:
        InputError: a layer with real inputs already; or as `choose_layers`.
    """
    names = model.numbered
    found = binarization_errors(model, batches)
    macs = layer_macs(model, input_size)
    missing = [name for name in names.values() if name not in found]
    if missing:
        raise InputError(
            f"layer {missing[0]!r}", "has real inputs already", "Measure a network of version fbin."
        )
    errors = {n: found[name] for n, name in names.items()}
    operations = {n: macs[name] for n, name in names.items()}
    metric = layer_metrics({n: e.error for n, e in errors.items()}, operations, options)
    return Measured(choose_layers(metric, options), names, errors, operations)


def write_partition(path: str | Path, measured: Measured) -> None:
    """Writes the rows as CSV, for a plot."""
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(measured.rows())
