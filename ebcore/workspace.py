"""Where the pipeline's files are, relative to the folder it runs in."""

from __future__ import annotations

from pathlib import Path

CHECKPOINTS, METRICS, PLOTS = Path("checkpoints"), Path("metrics"), Path("plots")
PACKED, EVALUATION, REPORT = Path("packed"), Path("evaluation"), Path("report")
BETON = Path("data/beton")

TEACHER = CHECKPOINTS / "teacher"  # a folder, as a stage may depend on what is not made
SHARED_STAGES = ("train_real", "train_one")  # one for all expert counts


def branch(stage: str, experts: int) -> str:
    """File stem of a stage's output: "train_one", or "train_binary-4"."""
    return stage if stage in SHARED_STAGES else f"{stage}-{experts}"


def checkpoint_file(stage: str, experts: int) -> Path:
    folder = TEACHER if stage == "train_real" else CHECKPOINTS
    return folder / f"{branch(stage, experts)}.safetensors"


def metrics_file(stage: str, experts: int) -> Path:
    return METRICS / f"{branch(stage, experts)}.json"


def curve_file(stage: str, experts: int) -> Path:
    return PLOTS / f"{branch(stage, experts)}.csv"


def packed_file(experts: int) -> Path:
    return PACKED / f"ebconv-{experts}.ebp"


def evaluation_file(experts: int) -> Path:
    return EVALUATION / f"{experts}.safetensors"


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
