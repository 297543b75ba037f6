"""The files of a kept run, and what their columns mean.

results/RUN/ holds params.yaml as it ran and its tables; each row of trainings.csv and
networks.csv carries the hardware and the versions. partition.csv is there if Hybrid Binary Networks
ran. note.txt, written by hand where there is something to say about the run, goes onto the page.
"""

from __future__ import annotations

from pathlib import Path

from ebcore.measure.rows import MACHINE_COLUMNS
from ebcore.methods.hybrid import COLUMNS

RESULTS = Path("results")
PARAMS, TRAININGS, CURVES = "params.yaml", "trainings.csv", "curves.csv"
NETWORKS, USAGE, PARTITION = "networks.csv", "usage.csv", "partition.csv"
PAGE = Path("docs/results.md")
NOTE = "note.txt"
LITERATURE = RESULTS / "literature.csv"  # printed figures, each with its source

# Accuracies in percent, of the last epoch; seconds of training and validation.
TRAINING_COLUMNS = (
    "stage",
    "item",
    "method",
    "seed",
    "epochs",
    "top1",
    "top5",
    "best_top1",
    "loss",
    "train_loss",
    "seconds",
    "images_per_second",
    "weights_sha256",
    *MACHINE_COLUMNS,
)
CURVE_COLUMNS = ("stage", "item", "epoch", "train_loss", "train_top1", "val_loss", "val_top1", "lr")
# Packed networks: operations of one image, milliseconds a batch, sizes in bytes.
NETWORK_COLUMNS = (
    "network",
    "method",
    "variant",
    "experts",
    "seed",
    "spec",
    "pytorch_top1",
    "packed_top1",
    "images",
    "listed_images",
    "bops",
    "flops",
    "file_bytes",
    "float_bytes",
    "packed_ms",
    "fp32_ms",
    "fp32_by",
    "batch_size",
    "threads",
    *MACHINE_COLUMNS,
)
USAGE_COLUMNS = ("network", "layer", "expert", "share")
PARTITION_COLUMNS = ("seed", *COLUMNS)  # of `ebcore.methods.hybrid`, a row per layer
