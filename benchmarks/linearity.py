"""Does lowering the quantization error make binary convolutions more linear (FTBNN's first claim)?

Trains a small Bi-Real network without activations on scikit-learn's digits, weights and activations
binary from the start, with one of the two quantization errors in the loss, that of the inputs or
that of the weights:

    loss = cross-entropy + penalty * mean over layers of error^2

where an error is |v - s sign(v)| / |v| with the best s (`ebcore.measure.linearity`). A larger
penalty pulls the values towards +-s, as BNN+'s regulariser does with weights. For each penalty,
seed and layer: both errors and the linearity of the trained network, maps fitted on the training
images, everything scored on the validation images. Writes results/linearity.csv and, beside it, the
plot linearity.svg.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks._linearity_plot import linearity_plot
from ebcore.data.digits import VAL_EVERY
from ebcore.errors import exit_on_input_error
from ebcore.files import atomic_write
from ebcore.layers import BinaryConv2d
from ebcore.measure.linearity import linearity
from ebcore.measure.machine import machine
from ebcore.measure.rows import MACHINE_COLUMNS, write_rows
from ebcore.models import EBResNet, resnet
from ebcore.models.binarization import binary_convs

RESULT = Path("results/linearity.csv")
PENALTIES, SEEDS = (3.0, 10.0), (0, 1, 2)
INPUTS, WEIGHTS = "inputs", "weights"
SIZE, BATCH, EPOCHS, RATE = 16, 64, 8, 0.004
NETWORK: dict[str, Any] = {
    "spec": "1111-1-1:1:1:1",
    "layout": "bi-real",
    "activation": "none",
    "pointwise": False,
    "experts": 1,
    "stem": "small",
    "width": 8,
    "stem_width": 8,
    "in_channels": 1,
    "num_classes": 10,
}
COLUMNS = (
    "penalised", "penalty", "seed", "layer", "r2", "input_error", "weight_error", "taps",
    "positions", "top1", "epochs", *MACHINE_COLUMNS,
)  # fmt: skip


def digits() -> dict[str, tuple[Tensor, Tensor]]:
    """{"train", "val"}: standardised images [B, 1, SIZE, SIZE] and labels; the pipeline's split."""
    from sklearn.datasets import load_digits

    scans, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(scans).float().view(-1, 1, 8, 8)
    images = F.interpolate(images, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    images = (images - images.mean()) / images.std()
    targets = torch.from_numpy(labels).long()
    ranked = targets.argsort(stable=True)
    is_val = torch.arange(len(ranked)) % VAL_EVERY == 0
    chosen = {"train": ranked[~is_val], "val": ranked[is_val]}
    return {split: (images[rows], targets[rows]) for split, rows in chosen.items()}


def squared_error(v: Tensor) -> Tensor:
    """|v - s sign(v)|^2 / |v|^2 of each row of [..., n] with its best s, averaged; has a gradient.

    Equal to 1 - mean(|v|)^2 / mean(v^2).
    """
    return (1 - v.abs().mean(-1).square() / v.square().mean(-1).clamp_min(1e-12)).mean()


def train(
    penalised: str, penalty: float, seed: int, images: Tensor, labels: Tensor, epochs: int
) -> EBResNet:
    """The trained network, in eval mode; `penalised` is INPUTS or WEIGHTS."""
    torch.manual_seed(seed)
    model = resnet(**NETWORK)
    errors: list[Tensor] = []

    def note(conv: BinaryConv2d, inputs: tuple[Tensor]) -> None:
        values = inputs[0].flatten() if penalised == INPUTS else conv.weight.flatten(2)
        errors.append(squared_error(values))

    hooks = [conv.register_forward_pre_hook(note) for conv in binary_convs(model).values()]
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(BATCH):
            errors.clear()
            loss = F.cross_entropy(model(images[rows]), labels[rows])
            loss = loss + penalty * torch.stack(errors).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        schedule.step()
    for hook in hooks:
        hook.remove()
    return model.eval()


def measure(penalised: str, penalty: float, seed: int, epochs: int) -> list[dict[str, Any]]:
    """One training: a row per binary layer."""
    data = digits()
    model = train(penalised, penalty, seed, *data["train"], epochs)
    images, labels = data["val"]
    with torch.no_grad():
        top1 = 100 * float((model(images).argmax(1) == labels).float().mean())
    common = {
        "penalised": penalised if penalty else "nothing",
        "penalty": penalty,
        "seed": seed,
        "top1": top1,
        "epochs": epochs,
    }
    layers = linearity(model, data["train"][0].split(BATCH), images.split(BATCH), positions=64)
    return [{**common, "layer": layer.name, **vars(layer)} for layer in layers]


def show(rows: Sequence[dict[str, Any]]) -> None:
    """A line per case: means over layers, then mean and standard deviation over seeds."""
    cases = dict.fromkeys((row["penalised"], row["penalty"]) for row in rows)
    for case in cases:
        cells = [f"{case[0]:8} {case[1]:<4g}"]
        for key in ("input_error", "weight_error", "r2", "top1"):
            runs: dict[int, list[float]] = {}
            for row in rows:
                if (row["penalised"], row["penalty"]) == case:
                    runs.setdefault(row["seed"], []).append(row[key])
            means = [statistics.fmean(values) for values in runs.values()]
            spread = statistics.stdev(means) if len(means) > 1 else 0.0
            cells.append(f"{key} {statistics.fmean(means):.3f} +- {spread:.3f}")
        print("  ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--penalties", type=float, nargs="+", default=PENALTIES)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    about = machine()
    cases = [(INPUTS, 0.0)]
    cases += [(what, penalty) for what in (INPUTS, WEIGHTS) for penalty in arguments.penalties]
    rows: list[dict[str, Any]] = []
    for seed in arguments.seeds:
        for penalised, penalty in cases:
            found = measure(penalised, penalty, seed, arguments.epochs)
            rows += [{**row, **about} for row in found]
            write_rows(arguments.out, COLUMNS, rows)  # what there is outlives what comes after
    plot = arguments.out.with_suffix(".svg")
    with atomic_write(plot) as file:
        file.write(linearity_plot(rows))
    show(rows)
    print(f"{len(rows)} rows in {arguments.out}, drawn in {plot}")


if __name__ == "__main__":
    with exit_on_input_error():
        main()
