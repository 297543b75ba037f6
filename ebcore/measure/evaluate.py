"""The stage `evaluate`: every validation image through the packed network and PyTorch."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ebcore.checkpoint import save_checkpoint
from ebcore.data.loader import SplitLoader, open_split
from ebcore.data.manifest import load_manifest
from ebcore.errors import InputError
from ebcore.files import atomic_write
from ebcore.layers.choices import expert_layers, usage_entropy
from ebcore.measure.accuracy import hits, percent
from ebcore.measure.machine import available_cores
from ebcore.measure.ten_crop import ten_crop_accuracy
from ebcore.measure.usage import (
    last_experts,
    recorded_experts,
    usage_counts,
    usage_rows,
    write_usage,
)
from ebcore.models import Network, load_model
from ebcore.packed import Agreement, PackedModel, agreement, load
from ebcore.params import DataParams, Params
from ebcore.workspace import (
    BETON,
    curve_file,
    evaluation_file,
    metrics_file,
    network_checkpoint,
    packed_file,
)

_REMEDY = (
    "Pack the checkpoint again (`dvc repro -f pack@N`, or `pack_network@NETWORK`); if it stays, "
    "report it as a bug."
)
_SMALL = 64  # px
_TOP1_SHARE = 1e-3  # of the images by which the two accuracies may differ, at least one image


@dataclass
class Outcome:
    """Everything kept of the images seen so far.

    Attributes:
        batches: by name, a tensor per batch: features float32 [B, C] before the classifier,
            labels int64 [B], experts int64 [B, L], and for "pytorch", "packed" and, where it is
            asked for, "bf16" the predicted class int64 [B] and whether the label is among the best
            1 and 5, bool [B].
        rounded: the packed network with real parts in bf16, held against no rule; its accuracy is
            reported.
        listed: images whose signs or experts differ within rounding, with the first such layer.
        worst_logit: largest difference of an image not listed, over its largest logit.
    """

    batches: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    listed: list[dict[str, Any]] = field(default_factory=list)
    worst_logit: float = 0.0
    images: int = 0
    rounded: PackedModel | None = None

    def see(self, model: Network, packed: PackedModel, images: Tensor, labels: Tensor) -> None:
        """Runs one batch through both.

        Raises:
            InputError: they disagree beyond rounding; the text names layer or image.
        """
        found = agreement(model, packed, images, batch_size=len(images))
        if not found.ok:
            raise _disagreement(found, self.images)
        for image in found.listed:
            about = {"layer": image.layer, "bits": image.bits, "expert": image.expert}
            self.listed.append({"image": self.images + image.index, **about})
        self.worst_logit = max(self.worst_logit, found.worst_logit)
        with recorded_experts(model) as layers, torch.inference_mode():
            features, reference = model.embed(images)
            self.batches["experts"].append(last_experts(layers, len(images)))
        self.batches["features"].append(features)
        self.batches["labels"].append(labels)
        outputs = {"pytorch": reference, "packed": packed(images)}
        if self.rounded is not None:
            outputs["bf16"] = self.rounded(images)
        for name, logits in outputs.items():
            self.batches[name].append(logits.argmax(1))
            self.batches[f"{name}_top1"].append(hits(logits, labels, 1))
            self.batches[f"{name}_top5"].append(hits(logits, labels, 5))
        self.images += len(images)

    def joined(self, name: str) -> Tensor:
        """A tensor over all images."""
        return torch.cat(self.batches[name])


def evaluate_stage(params: Params, network: int | str) -> dict[str, float]:
    """A checkpoint and its packed file -> accuracies, agreement, expert usage.

    Writes metrics/evaluate-NETWORK.json and evaluation/NETWORK.safetensors (features before the
    classifier, labels, predictions, chosen experts of every image).

    Args:
        network: see `ebcore.workspace.network_checkpoint`. An expert count has its usage in
            plots/evaluate-usage-N.csv, too.

    Raises:
        InputError: a file is missing or damaged, or the two networks do not agree as the
            correctness rules ask; the text names the layer or image.
    """
    model = load_model(network_checkpoint(network))
    outcome, classes = see_validation(model, load(packed_file(network)), params)
    layers = list(expert_layers(model))
    chosen, labels = outcome.joined("experts"), outcome.joined("labels")
    experts = int(model.config.get("experts", 1))
    counts = usage_counts(chosen, labels, experts, len(classes))
    metrics = {
        **scores(outcome),
        "gate_entropy": sum(usage_entropy(c.sum(0)) for c in counts) / max(1, len(layers)),
        **ten_crop_scores(model, params),
    }
    tensors = {"features": outcome.joined("features"), "labels": labels, "experts": chosen}
    tensors |= {name: outcome.joined(name) for name in ("pytorch", "packed")}
    meta = {"layers": layers, "classes": classes, "listed": outcome.listed}
    meta["data_sha256"] = load_manifest(BETON).sha256
    if isinstance(network, int):
        write_usage(curve_file("evaluate-usage", network), usage_rows(counts, layers, classes))
    save_checkpoint(evaluation_file(network), tensors, meta)
    with atomic_write(metrics_file("evaluate", network)) as file:
        json.dump(metrics, file, indent=1)
    return metrics


def see_validation(
    model: Network, packed: PackedModel, params: Params, rounded: PackedModel | None = None
) -> tuple[Outcome, list[str]]:
    """Every validation image of data/beton through both, and `rounded`; also the class names.

    Raises:
        InputError: bad data, another number of classes, or the two do not agree.
    """
    outcome = Outcome(rounded=rounded)
    val = _validation(model, params, params.data)
    with closing(val), _threads(params.data.image_size):
        if len(val.classes) != model.config["num_classes"]:
            raise InputError(
                BETON,
                f"has {len(val.classes)} classes, the network {model.config['num_classes']}",
                "Choose the profile of the images that the network knows, and prepare them.",
            )
        for batch in val.epoch(0):
            outcome.see(model, packed, batch.images, batch.labels)
    return outcome, val.classes


def ten_crop_scores(model: Network, params: Params) -> dict[str, float]:
    """PyTorch's ten_crop_top1 and ten_crop_top5 in percent, where evaluate.ten_crop asks for them.

    Crops of side data.image_size, of validation images resized and cut to data.resize.
    """
    side = params.data.resize
    if not params.evaluate.ten_crop or side is None:
        return {}
    larger = params.data.model_copy(update={"image_size": side})
    with closing(_validation(model, params, larger)) as val, _threads(params.data.image_size):
        batches = ((batch.images, batch.labels) for batch in val.epoch(0))
        found = ten_crop_accuracy(model, batches, params.data.image_size)
    return {f"ten_crop_{top}": found[top] for top in ("top1", "top5")}


def _validation(model: Network, params: Params, data: DataParams) -> SplitLoader:
    return open_split(
        BETON,
        "val",
        data,
        batch_size=params.evaluate.batch_size,
        seed=params.seed,
        # The network's own: an imported one was trained on other images' mean and std.
        normalisation=(model.metadata["mean"], model.metadata["std"]),
    )


def scores(outcome: Outcome) -> dict[str, float]:
    """Accuracies in percent and how the two networks agree.

    Raises:
        InputError: their top-1 differ by more than the correctness rules allow.
    """
    return {
        "images": outcome.images,
        **accuracies(outcome),
        "listed_images": len(outcome.listed),
        "listed_percent": 100 * len(outcome.listed) / outcome.images,
        "max_logit_error": outcome.worst_logit,
    }


def accuracies(outcome: Outcome) -> dict[str, float]:
    """Top-1 and top-5 of each in percent; for "bf16" also what it loses in top-1, in points.

    Raises:
        InputError: the two top-1 differ by more than 0.1 % of the images and one image.
    """
    names = ["pytorch", "packed"] + ["bf16"] * (outcome.rounded is not None)
    keys = [f"{name}_{top}" for name in names for top in ("top1", "top5")]
    right = {key: outcome.joined(key) for key in keys}
    difference = abs(int(right["pytorch_top1"].sum()) - int(right["packed_top1"].sum()))
    allowed = max(1.0, _TOP1_SHARE * outcome.images)
    if difference > allowed:
        raise InputError(
            "packed network",
            f"top-1 differs from PyTorch's by {difference} of {outcome.images} images, "
            f"allowed are {allowed:g}",
            _REMEDY,
        )
    result = {key: percent(values) for key, values in right.items()}
    if outcome.rounded is not None:
        result["bf16_loss"] = result["packed_top1"] - result["bf16_top1"]
    return result


@contextmanager
def _threads(image_size: int) -> Iterator[None]:
    """Torch's threads for images of this side in px.

    Layers on small images last microseconds: waiting for a second thread takes longer, on a busy
    machine 20 times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if image_size <= _SMALL else available_cores())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _disagreement(found: Agreement, start: int) -> InputError:
    more = len(found.violations) - 1
    text = found.violations[0] + (f" (and {more} more)" if more else "")
    where = f"in the batch that starts at validation image {start}"
    return InputError("packed network", f"disagrees with PyTorch {where}: {text}", _REMEDY)
