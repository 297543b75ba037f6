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
from ebcore.params import Params
from ebcore.train.training import find_training, method_name
from ebcore.workspace import (
    BETON,
    SHARED_STAGES,
    metrics_file,
    packed_file,
    trained_metrics,
)

if TYPE_CHECKING:
    from flows.stage import Stage

EXPERIMENT = "binary-networks"  # one for all methods: MLflow compares within an experiment
_COMMON = ("profile", "seed", "workers", "device", "amp", "compile", "sync_batchnorm", "data")
_RESULTS: dict[str, tuple[str, ...]] = {  # what a branch is compared by, of which stage
    "train": ("top1",),
    "pack": ("bops", "flops", "file_bytes", "ratio"),
    "evaluate": ("packed_top1", "packed_top5", "gate_entropy"),
    "benchmark": ("packed_ms", "torch_fp32_ms", "speedup_torch_fp32"),
}


@dataclass(frozen=True)
class Branch:
    """One network of a method, trained with certain parameters on certain data.

    Attributes:
        network: an expert count of EBConv, or the stem of its checkpoint, "hybrid_train-0".
        digest: of all that; equal branches share an MLflow run.
    """

    method: str
    network: int | str
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
        branch: whose stage it is; None for one that branches share.
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
    """A packed network to register, under its method's and profile's name.

    Attributes:
        alias: "n4" for 4 experts, else its checkpoint's stem.
        tags: what tells it apart from the method's others.
        figures: top1 in percent, bops, flops, bytes.
    """

    name: str
    alias: str
    tags: Mapping[str, str]
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
        "method": stage.method,
        "stage": stage.name,
        "dvc_stage": stage.address,
        "profile": params.profile,
        "git_commit": git_commit(),
        "data_sha256": data_hash(),
        **experiment_tag(),
        **stage.tags,
    }
    content = params.model_dump(mode="json")
    variants = params.ftbnn.variants.items()  # what each sets: the rest is the model's
    content["ftbnn"]["variants"] = {
        name: variant.model_dump(mode="json", exclude_unset=True) for name, variant in variants
    }
    parameters = {key: content[key] for key in (*_COMMON, *stage.parameters)}
    if stage.experts is not None:
        tags["experts"] = str(stage.experts)
        parameters["experts"] = stage.experts
    if isinstance(stage.network, str):
        tags["network"] = stage.network
        parameters["seed"] = stage.network.rpartition("-")[2]
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
    branch = _branch_of(stage, params)
    kind = "" if branch is None else result_kind(stage, branch.network)
    results: list[tuple[Branch, Mapping[str, float]]] = []
    packed = None
    if stage.name == "report":  # it depends on all of them, so none is out of date
        networks: list[int | str] = [*params.experts, *params.networks]
        for network in networks:
            results.append((_branch(params, network), branch_results(network)))
    elif kind and branch is not None:
        results.append((branch, branch_results(branch.network, (kind,))))
    if kind == "evaluate" and branch is not None:
        packed = _packed(branch)
    files = [path for path in stage.artifacts if Path(path).is_file()]
    return Outcome("FINISHED", files, data_hash(), results, packed)


def result_kind(stage: Stage, network: int | str) -> str:
    """The key of `_RESULTS` that figures of a stage towards `network` belong to; "" for none."""
    if stage.trains:  # the last training is the one whose checkpoint is packed
        last = metrics_file(stage.name, stage.item or "") == trained_metrics(network)
        return "train" if last else ""
    kind = stage.name.removesuffix("_network")
    return kind if kind in _RESULTS else ""


def branch_results(
    network: int | str, kinds: tuple[str, ...] = tuple(_RESULTS)
) -> dict[str, float]:
    """The figures of an expert count, or of another network, that are in metrics/."""
    found: dict[str, float] = {}
    for kind in kinds:
        path = trained_metrics(network) if kind == "train" else metrics_file(kind, network)
        figures = _read(path)
        found |= {key: figures[key] for key in _RESULTS[kind] if key in figures}
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


def _packed(branch: Branch) -> Packed:
    network = branch.network
    path, found = packed_file(network), branch_results(network)
    names = {"top1": "packed_top1", "bops": "bops", "flops": "flops", "bytes": "file_bytes"}
    return Packed(
        name=f"{branch.method}-{branch.profile}",
        alias=f"n{network}" if isinstance(network, int) else network,
        tags=branch_tags(network),
        file=str(path),
        sha256=sha256_file(path),
        git_commit=git_commit(),
        figures={name: found[key] for name, key in names.items() if key in found},
    )


def branch_tags(network: int | str) -> dict[str, str]:
    """What tells a branch apart."""
    key = "experts" if isinstance(network, int) else "network"
    return {key: str(network)}


def _branch_of(stage: Stage, params: Params) -> Branch | None:
    if stage.folder is not None or stage.name in SHARED_STAGES:
        return None
    network = stage.experts if stage.network is None else stage.network
    return None if network is None else _branch(params, network)


def _branch(params: Params, network: int | str) -> Branch:
    chosen: dict[str, Any]
    named: dict[str, Any]
    if isinstance(network, int):
        content = params.model_dump(mode="json")
        chosen = {key: content[key] for key in (*_COMMON, "model", *params.training_stages)}
        method, named = method_name("train"), {"experts": network}
    else:
        stage, _, item = network.partition("-")
        training = find_training(stage, item, params)
        method, named = method_name(stage), {"network": network, "seed": training.params.seed}
        content = training.params.model_dump(mode="json")
        steps = {"train": training.train.model_dump(mode="json")}
        if method == "ftbnn":
            steps = {key: content["ftbnn"][key] for key in ("train_real", "train_binary")}
        chosen = {**{key: content[key] for key in _COMMON}, **steps, **training.content}
    text = json.dumps([method, network, chosen, data_hash()], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Branch(method, network, params.profile, digest, _flat({**chosen, **named}))


def _fingerprint(stage: Stage, params: Params) -> str:
    if stage.trains:
        from ebcore.train.launch import fingerprint

        return fingerprint(stage.name, stage.item or "", params)
    work = [stage.address, params.model_dump(mode="json"), data_hash()]
    return hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()


def _anew(stage: Stage) -> bool:
    if not stage.trains:
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
