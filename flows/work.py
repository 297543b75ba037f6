"""What MLflow is told of a stage's work, as plain data that can wait in a file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebcore.commit import git_commit
from ebcore.data.manifest import load_manifest
from ebcore.errors import InputError
from ebcore.files import sha256_file
from ebcore.params import TRAINING_STAGES, Params
from ebcore.workspace import BETON, SHARED_STAGES, metrics_file, packed_file

if TYPE_CHECKING:
    from flows.stage import Stage

METHOD = "ebconv"  # the experiment's name
_COMMON = ("profile", "seed", "workers", "device", "amp", "sync_batchnorm", "data")
_RESULTS = {  # what a branch is compared by, of which stage
    "pack": ("bops", "flops", "file_bytes", "ratio"),
    "evaluate": ("packed_top1", "packed_top5", "gate_entropy"),
    "benchmark": ("packed_ms", "torch_fp32_ms", "speedup_torch_fp32"),
}


@dataclass(frozen=True)
class Branch:
    """One expert count, trained with certain parameters on certain data.

    Attributes:
        digest: of all that; equal branches share an MLflow run.
    """

    experts: int
    profile: str
    digest: str
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Work:
    """What is known when a stage starts.

    Attributes:
        started: ms since 1970.
        fingerprint: of the work; the same work done again has the same.
        anew: work that was finished before is done again, not merely published again.
        branch: whose stage it is; None for one that all expert counts share.
    """

    label: str
    started: int
    fingerprint: str
    anew: bool
    tags: Mapping[str, str]
    parameters: Mapping[str, str]
    branch: Branch | None


@dataclass(frozen=True)
class Packed:
    """A packed network to register, under its profile's name.

    Attributes:
        figures: top1 in percent, bops, flops, bytes.
    """

    name: str
    experts: int
    file: str
    sha256: str
    git_commit: str
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """What is known when it ends.

    Attributes:
        status: for MLflow: FINISHED, FAILED or KILLED.
        files: small ones that the run keeps.
        results: figures that the branches are compared by.
    """

    status: str
    files: list[str] = field(default_factory=list)
    data_sha256: str = ""
    results: list[tuple[Branch, Mapping[str, float]]] = field(default_factory=list)
    packed: Packed | None = None


def describe(stage: Stage, params: Params, started: float) -> Work:
    """A stage that started at `started`, in s since 1970."""
    tags = {
        "method": METHOD,
        "stage": stage.name,
        "dvc_stage": stage.address,
        "profile": params.profile,
        "git_commit": git_commit(),
        "data_sha256": data_hash(),
        **experiment_tag(),
        **stage.tags,
    }
    content = params.model_dump(mode="json")
    parameters = {key: content[key] for key in (*_COMMON, *stage.parameters)}
    if stage.experts is not None:
        tags["experts"] = str(stage.experts)
        parameters["experts"] = stage.experts
    return Work(
        label=stage.label,
        started=int(started * 1000),
        fingerprint=_fingerprint(stage, params),
        anew=_anew(stage),
        tags=tags,
        parameters=_flat(parameters),
        branch=_branch_of(stage, params),
    )


def conclude(stage: Stage, params: Params) -> Outcome:
    """A stage that has succeeded."""
    experts, branch = stage.experts, _branch_of(stage, params)
    results: list[tuple[Branch, Mapping[str, float]]] = []
    packed = None
    if stage.name == "report":  # it depends on all of them, so none is out of date
        for count in params.experts:
            results.append((_branch(params, count), branch_results(count)))
    elif stage.name in _RESULTS and branch is not None:
        results.append((branch, branch_results(branch.experts, (stage.name,))))
    if stage.name == "evaluate" and experts is not None:
        packed = _packed(params.profile, experts)
    files = [path for path in stage.artifacts if Path(path).is_file()]
    return Outcome("FINISHED", files, data_hash(), results, packed)


def branch_results(experts: int, stages: tuple[str, ...] = tuple(_RESULTS)) -> dict[str, float]:
    """The figures of an expert count that are in metrics/."""
    found: dict[str, float] = {}
    for stage in stages:
        figures = _read(metrics_file(stage, experts))
        found |= {key: figures[key] for key in _RESULTS[stage] if key in figures}
    return found


def data_hash() -> str:
    """Digest of the prepared data; "" while there are none."""
    try:
        return load_manifest(BETON).sha256
    except InputError:
        return ""


def experiment_tag() -> dict[str, str]:
    """The name of the `dvc exp run` that this belongs to."""
    name = os.environ.get("DVC_EXP_NAME")
    return {"dvc_experiment": name} if name else {}


def _packed(profile: str, experts: int) -> Packed:
    path, found = packed_file(experts), branch_results(experts)
    names = {"top1": "packed_top1", "bops": "bops", "flops": "flops", "bytes": "file_bytes"}
    figures = {name: found[key] for name, key in names.items() if key in found}
    name = f"{METHOD}-{profile}"
    return Packed(name, experts, str(path), sha256_file(path), git_commit(), figures)


def _branch_of(stage: Stage, params: Params) -> Branch | None:
    if stage.experts is None or stage.folder is not None or stage.name in SHARED_STAGES:
        return None
    return _branch(params, stage.experts)


def _branch(params: Params, experts: int) -> Branch:
    content = params.model_dump(mode="json")
    chosen = {key: content[key] for key in (*_COMMON, "model", *params.training_stages)}
    text = json.dumps([METHOD, experts, chosen, data_hash()], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Branch(experts, params.profile, digest, _flat({**chosen, "experts": experts}))


def _fingerprint(stage: Stage, params: Params) -> str:
    if stage.name in TRAINING_STAGES:
        from ebcore.train.launch import fingerprint

        return fingerprint(stage.name, stage.experts or 1, params)
    work = [stage.address, params.model_dump(mode="json"), data_hash()]
    return hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()


def _anew(stage: Stage) -> bool:
    if stage.name not in TRAINING_STAGES:
        return True
    from ebcore.train.launch import FORCE

    return bool(os.environ.get(FORCE))


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} -> {"a.b": "1"}"""
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = str(value)
    return flat


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
