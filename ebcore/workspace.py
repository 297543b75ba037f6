"""Where the pipeline's files are, relative to the folder it runs in."""

from __future__ import annotations

from pathlib import Path

CHECKPOINTS, METRICS, PLOTS = Path("checkpoints"), Path("metrics"), Path("plots")
PACKED, EVALUATION, REPORT = Path("packed"), Path("evaluation"), Path("report")
BETON = Path("data/beton")

TEACHER = CHECKPOINTS / "teacher"  # a folder, as a stage may depend on what is not made
SHARED_STAGES = ("train_real", "train_one")  # one for all expert counts


def branch(stage: str, item: int | str) -> str:
    """File stem of a stage's output: "train_one", "train_binary-4", "hybrid_train-0"."""
    return stage if stage in SHARED_STAGES else f"{stage}-{item}"


def checkpoint_file(stage: str, item: int | str) -> Path:
    folder = TEACHER if stage == "train_real" else CHECKPOINTS
    return folder / f"{branch(stage, item)}.safetensors"


def metrics_file(stage: str, item: int | str) -> Path:
    return METRICS / f"{branch(stage, item)}.json"


def curve_file(stage: str, item: int | str) -> Path:
    return PLOTS / f"{branch(stage, item)}.csv"


def network_checkpoint(network: int | str) -> Path:
    """What is packed: an expert count's last step, or the checkpoint of that stem.

    A network is named so in the next two as well, for example 4 or "hybrid_train-0".
    """
    if isinstance(network, int):
        return checkpoint_file("train_binary", network)
    return CHECKPOINTS / f"{network}.safetensors"


def trained_metrics(network: int | str) -> Path:
    """What the training of `network_checkpoint` wrote."""
    return METRICS / f"{network_checkpoint(network).stem}.json"


def packed_file(network: int | str) -> Path:
    name = f"ebconv-{network}" if isinstance(network, int) else network
    return PACKED / f"{name}.ebp"


def evaluation_file(network: int | str) -> Path:
    return EVALUATION / f"{network}.safetensors"


def main_checkout() -> Path:
    """The checkout that holds .runs/, mlflow.db and .prefect/.

    `dvc exp run --temp` and queued experiments work in copies under .dvc/tmp/exps; their progress
    and records belong to the checkout around them.
    """
    here = Path.cwd().resolve()
    for folder in here.parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2]
    return here
