"""One training as a description that processes can share."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import ebcore
from ebcore.checkpoint import checkpoint_digest
from ebcore.data.manifest import load_manifest
from ebcore.errors import InputError
from ebcore.files import atomic_write, sha256_file
from ebcore.params import Params, TrainParams
from ebcore.train.training import Training, find_training
from ebcore.workspace import BETON, main_checkout

FINAL = "final.safetensors"  # in the run directory: the trained network, before it is published
RESULT = "result.json"  # beside it: curve, seconds, images
_SOURCES = (".py", ".cpp", ".inl", ".h")
_RELEVANT = {"seed", "workers", "device", "amp", "compile", "sync_batchnorm", "data"}


@dataclass(frozen=True)
class Job:
    """A training with everything that decides its result.

    Attributes:
        training: what the recipe says of it, files included.
        folder: the run directory, `.runs/<fingerprint>`.
        fingerprint: hex digest of what decides the result; equal jobs share a run directory.
        data_sha256: digest of the data's manifest.
    """

    training: Training
    folder: Path
    fingerprint: str
    data_sha256: str

    @property
    def stage(self) -> str:
        return self.training.stage

    @property
    def params(self) -> Params:
        return self.training.params

    @property
    def train(self) -> TrainParams:
        return self.training.train

    def error_file(self, rank: int) -> Path:
        """Where a worker leaves the three parts of its `InputError`."""
        return self.folder / f"error-{rank}.json"


def make_job(stage: str, item: int | str, params: Params, *, start: Path | None = None) -> Job:
    """Describes a training stage's work.

    Args:
        item: what follows `@` in its name; what a shared stage is given does not count.
        start: the checkpoint it continues, if that is not the one of the pipeline.

    Raises:
        InputError: no such stage; data, or the checkpoint it starts from or is taught by, are
            missing.
    """
    training = find_training(stage, str(item), params)
    if start is not None:
        training = replace(training, start=start)
    manifest, train = load_manifest(BETON), training.train
    content: dict[str, Any] = {
        "code": _code_sha256(),
        "torch": torch.__version__,
        "stage": stage,
        "start": training.start and checkpoint_digest(training.start),
        "teacher": training.teacher and checkpoint_digest(training.teacher),
        "data_sha256": manifest.sha256,
        "train": train.model_dump(),
        **training.params.model_dump(include=_RELEVANT),
        **training.content,
    }
    text = json.dumps(content, sort_keys=True)
    fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = main_checkout() / ".runs" / fingerprint
    return Job(training, folder, fingerprint, manifest.sha256)


def _code_sha256() -> str:
    """Digest of the sources that decide what training computes, as in dvc.yaml."""
    root = Path(ebcore.__file__).parent
    files = [root / "binarize.py"]
    for package in ("data", "layers", "methods", "models", "train"):
        found = (root / package).rglob("*")
        files += sorted(path for path in found if path.suffix in _SOURCES)
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.relative_to(root)} {sha256_file(path)}\n".encode())
    return total.hexdigest()


def write_job(job: Job) -> Path:
    """Puts the job into its run directory for the workers; returns the file."""
    job.folder.mkdir(parents=True, exist_ok=True)
    path = job.folder / "job.json"
    training = job.training
    content = {
        "stage": training.stage,
        "item": training.item,
        "params": training.params.model_dump(exclude_unset=True),  # a default spelt out may warn
        "start": training.start and str(training.start),
        "teacher": training.teacher and str(training.teacher),
        "fingerprint": job.fingerprint,
        "data_sha256": job.data_sha256,
    }
    with atomic_write(path) as file:
        json.dump(content, file, indent=1)
    return path


def read_job(path: Path) -> Job:
    """What `write_job` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        params = Params.model_validate(content["params"])
        training = find_training(content["stage"], content["item"], params)
        start, teacher = (content[key] and Path(content[key]) for key in ("start", "teacher"))
        training = replace(training, start=start, teacher=teacher)
        return Job(training, path.parent, content["fingerprint"], content["data_sha256"])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(path, f"is no job ({error})", "Start the stage again.") from error
