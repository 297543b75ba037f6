"""One training stage as a description that processes can share."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import ebcore
from ebcore.checkpoint import checkpoint_digest
from ebcore.data.manifest import load_manifest
from ebcore.errors import InputError
from ebcore.files import atomic_write, sha256_file
from ebcore.methods.ebconv import STEPS
from ebcore.params import Params
from ebcore.workspace import BETON, checkpoint_file, main_checkout

FINAL = "final.safetensors"  # in the run directory: the trained network, before it is published
RESULT = "result.json"  # beside it: curve, seconds, images
_SOURCES = (".py", ".cpp", ".inl", ".h")
_RELEVANT = {"seed", "workers", "device", "amp", "sync_batchnorm", "data", "model"}


@dataclass(frozen=True)
class Job:
    """A training stage with everything that decides its result.

    Attributes:
        stage: a key of `ebcore.methods.ebconv.STEPS`.
        experts: N; the shared first steps train 1 whatever it says.
        params: all parameters.
        start: the checkpoint it continues; None starts from random weights.
        teacher: the checkpoint of the network that teaches it; None without distillation.
        folder: the run directory, `.runs/<fingerprint>`.
        fingerprint: hex digest of what decides the result; equal jobs share a run directory.
        data_sha256: digest of the data's manifest.
    """

    stage: str
    experts: int
    params: Params
    start: Path | None
    teacher: Path | None
    folder: Path
    fingerprint: str
    data_sha256: str

    def error_file(self, rank: int) -> Path:
        """Where a worker leaves the three parts of its `InputError`."""
        return self.folder / f"error-{rank}.json"


def make_job(stage: str, experts: int, params: Params, *, start: Path | None = None) -> Job:
    """Describes a stage's training.

    Args:
        start: the checkpoint it continues, if that is not the one of the pipeline.

    Raises:
        InputError: data, or the checkpoint it starts from or is taught by, are missing.
    """
    step, train = STEPS[stage], params.train(stage)
    manifest = load_manifest(BETON)
    if step.start and start is None:
        start = checkpoint_file(step.start, experts)
    teacher = checkpoint_file(step.teacher, experts) if step.teacher and train.distill else None
    content: dict[str, Any] = {
        "code": _code_sha256(),
        "torch": torch.__version__,
        "stage": stage,
        "experts": experts if step.start else 1,
        "start": start and checkpoint_digest(start),
        "teacher": teacher and checkpoint_digest(teacher),
        "data_sha256": manifest.sha256,
        "train": train.model_dump(),
        **params.model_dump(include=_RELEVANT),
    }
    text = json.dumps(content, sort_keys=True)
    fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = main_checkout() / ".runs" / fingerprint
    return Job(stage, experts, params, start, teacher, folder, fingerprint, manifest.sha256)


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
    content = {
        "stage": job.stage,
        "experts": job.experts,
        "params": job.params.model_dump(exclude_unset=True),  # a default spelt out may warn
        "start": job.start and str(job.start),
        "teacher": job.teacher and str(job.teacher),
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
        params = Params.model_validate(content.pop("params"))
        start, teacher = (content.pop(key) for key in ("start", "teacher"))
        return Job(
            params=params,
            start=start and Path(start),
            teacher=teacher and Path(teacher),
            folder=path.parent,
            **content,
        )
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(path, f"is no job ({error})", "Start the stage again.") from error
