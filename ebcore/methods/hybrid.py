"""Hybrid Binary Networks (Prabhu et al., WACV 2018), step by step.

1. hybrid_fbin: the network with binary weights and inputs is trained.
2. hybrid_partition: each layer's binarization error on training images and its operations make a
   metric; k-means on it chooses the layers that keep real inputs.
3. hybrid_train: the hybrid, weights binary everywhere, is trained from scratch (the released
   scripts resume nothing).

hybrid_compared trains the versions that it is compared with: fprec, wbin.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ebcore.data.loader import open_split
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
from ebcore.models import load_model
from ebcore.models.architectures import build
from ebcore.models.hybrid_net import HybridNet
from ebcore.params import Params
from ebcore.train.training import Training, require_step
from ebcore.workspace import BETON, checkpoint_file, curve_file, metrics_file

COLUMNS = ("layer", "name", "error", "power", "macs", "metric", "cluster", "real_input")


@dataclass(frozen=True)
class Step:
    """One training step of the recipe.

    Attributes:
        stage: its name in dvc.yaml.
        title: for logs and reports.
        version: of the network, see `ebcore.models.hybrid_net.Version`; None if the stage's item
            begins with it.
    """

    stage: str
    title: str
    version: str | None


STEPS = {
    step.stage: step
    for step in (
        Step("hybrid_fbin", "binary weights and inputs", "fbin"),
        Step("hybrid_train", "binary weights, some real inputs", "hybrid"),
        Step("hybrid_compared", "real inputs", None),
    )
}
VERSION_TITLES = {
    "fprec": "nothing binary",
    "wbin": "binary weights, real inputs",
    "fbin": "binary weights and inputs",
    "hybrid": "binary weights, some real inputs",
}


def training(stage: str, item: str, params: Params) -> Training:
    """A step; the item is "SEED", or "VERSION-SEED" for hybrid_compared.

    Raises:
        InputError: no step of the recipe, an unknown item, or no partition was made for the seed.
    """
    require_step(stage, STEPS)
    named, _, seed = item.rpartition("-")
    version = STEPS[stage].version or named
    known = params.hybrid.versions if STEPS[stage].version is None else [""]
    if named not in known or seed not in map(str, params.hybrid.seeds):
        raise InputError(
            f"{stage}@{item}",
            "is not in params.yaml",
            f"hybrid.seeds: {params.hybrid.seeds}, hybrid.versions: {params.hybrid.versions}.",
        )
    config = {**params.hybrid.network.settings, "in_channels": 3, "version": version}
    if version == "fprec":  # a last layer with binary weights is no part of it
        config.pop("binary_last", None)
    if version == "hybrid":
        config["real_inputs"] = chosen_layers(item)
    return Training(
        stage=stage,
        item=item,
        params=params.model_copy(update={"seed": int(seed)}),
        train=params.hybrid.train,
        content={"network": config},
    )


def start_model(training: Training, num_classes: int) -> HybridNet:
    """The network of a step, with random weights.

    Raises:
        InputError: settings that the architecture refuses.
    """
    torch.manual_seed(training.params.seed)
    try:
        model = build({**training.content["network"], "num_classes": num_classes})
    except TypeError as error:
        raise InputError("hybrid.network", str(error), "Leave that setting out.") from error
    assert isinstance(model, HybridNet)
    return model


def chosen_layers(item: str) -> list[int]:
    """Layers that the partition of a seed chose.

    Raises:
        InputError: there is no partition.
    """
    path = metrics_file("hybrid_partition", item)
    try:
        return [int(n) for n in json.loads(path.read_text(encoding="utf-8"))["chosen"]]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            path, f"is no partition ({error})", f"Run `dvc repro -s hybrid_partition@{item}`."
        ) from error


def partition_stage(params: Params, item: str) -> dict[str, Any]:
    """Step 2 of the pipeline on checkpoints/hybrid_fbin-SEED.safetensors.

    Writes plots/hybrid_partition-SEED.csv, a row per layer, and metrics/hybrid_partition-SEED.json.

    Returns:
        chosen: the layers; layers, clusters: how many; share: of the layers that were chosen.

    Raises:
        InputError: bad data or checkpoint; or as `choose_layers`.
    """
    model = load_model(checkpoint_file("hybrid_fbin", item))
    assert isinstance(model, HybridNet)
    section, side = params.hybrid.partition, params.data.image_size
    options = PartitionOptions(
        **{**section.model_dump(exclude={"images"}), "layers": tuple(section.layers)}
    )
    batches = _training_images(params, int(item))
    measured = measure_partition(model, batches, (3, side, side), options)
    found = measured.partition
    metrics = {
        "chosen": list(found.chosen),
        "layers": len(measured.names) + 1,  # with the first, which is always real
        "clusters": found.clusters,
        "share": len(found.chosen) / (len(measured.names) + 1),
    }
    write_partition(curve_file("hybrid_partition", item), measured)
    with atomic_write(metrics_file("hybrid_partition", item)) as file:
        json.dump(metrics, file, indent=1)
    return metrics


def _training_images(params: Params, seed: int) -> Iterator[Tensor]:
    """The first of an epoch, as training sees them: float32 [B, 3, H, W]."""
    size, left = params.hybrid.train.batch_size, params.hybrid.partition.images
    with closing(open_split(BETON, "train", params.data, batch_size=size, seed=seed)) as split:
        for batch in split.epoch(0):
            yield batch.images[:left]
            left -= len(batch.images)
            if left <= 0:
                return


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
