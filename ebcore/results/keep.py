"""What ran in this checkout -> results/RUN/: `make keep`, after `make repro` of a profile."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ebcore.checkpoint import weights_sha256
from ebcore.errors import exit_on_input_error
from ebcore.measure.machine import machine
from ebcore.measure.rows import write_rows
from ebcore.measure.usage import ALL_CLASSES
from ebcore.methods.ftbnn import STEPS as FTBNN
from ebcore.models.hybrid_net import VERSIONS
from ebcore.params import Params, load_params
from ebcore.profiles import ACTIVE
from ebcore.report.ebconv.inputs import Branch, read_branch
from ebcore.report.files import read_trained
from ebcore.report.hybrid.inputs import OWN_STAGE, address, read_choice
from ebcore.report.networks import deployed_networks
from ebcore.results import files
from ebcore.train.training import method_name
from ebcore.workspace import SHARED_STAGES, checkpoint_file


def keep(params: Params) -> Path:
    """Copies a finished run: parameters, trainings, curves, networks, expert usage, partitions.

    Returns:
        results/PROFILE-SEED.

    Raises:
        InputError: a file of something that params.yaml lists is missing or damaged.
    """
    branches = [read_branch(params, experts) for experts in params.experts]
    found = [(stage, item, read_trained(stage, item)) for stage, item in trainings(params)]
    networks = deployed_networks(params, branches)
    choices = {seed: read_choice(seed) for seed in params.hybrid.seeds}
    folder = files.RESULTS / f"{params.profile}-{params.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    here = machine()
    write_rows(
        folder / files.TRAININGS,
        files.TRAINING_COLUMNS,
        [{**_training(params, stage, item, run.metrics), **here} for stage, item, run in found],
    )
    write_rows(
        folder / files.CURVES,
        files.CURVE_COLUMNS,
        [{**row, "stage": stage, "item": item} for stage, item, run in found for row in run.curve],
    )
    write_rows(
        folder / files.NETWORKS,
        files.NETWORK_COLUMNS,
        [{**_network(params, row), **here} for row in networks],
    )
    used = [row for branch in branches for row in _usage(branch)]
    write_rows(folder / files.USAGE, files.USAGE_COLUMNS, used)
    if choices:
        rows = [{**row, "seed": seed} for seed, choice in choices.items() for row in choice.rows]
        write_rows(folder / files.PARTITION, files.PARTITION_COLUMNS, rows)
    shutil.copyfile(ACTIVE, folder / files.PARAMS)
    return folder


def trainings(params: Params) -> Iterator[tuple[str, str]]:
    """Stage and item of every training of the pipeline; what expert counts share comes once."""
    for stage in params.training_stages:
        shared = stage in SHARED_STAGES
        yield from ((stage, item) for item in ([""] if shared else map(str, params.experts)))
    versions = {*OWN_STAGE, *params.hybrid.versions}
    for version in (version for version in VERSIONS if version in versions):
        yield from (address(version, seed) for seed in params.hybrid.seeds)
    for step in FTBNN:
        for variant in params.ftbnn.compared:
            yield from ((step, f"{variant}-{seed}") for seed in params.ftbnn.seeds)


def main() -> None:
    with exit_on_input_error():
        folder = keep(load_params())
        print(f"{folder} keeps this run; `make results` writes {files.PAGE}")


def _training(params: Params, stage: str, item: str, metrics: dict[str, Any]) -> dict[str, Any]:
    method = method_name(stage)
    seed = params.seed if method == "ebconv" else int(item.rpartition("-")[2])
    return {
        **metrics,
        "stage": stage,
        "item": item,
        "method": method,
        "seed": seed,
        "images_per_second": metrics["overall_images_per_second"],
        "weights_sha256": weights_sha256(checkpoint_file(stage, item)),
    }


def _network(params: Params, row: dict[str, Any]) -> dict[str, Any]:
    fp32 = row["fp32"] or {"ms": None, "title": ""}
    ours = row["method"] == "ebconv"
    return {
        **row,
        **row["pack"],
        **row["evaluate"],
        **row["benchmark"],
        "experts": row["network"] if ours else None,
        "spec": params.model.spec if ours else "",
        "fp32_ms": fp32["ms"],
        "fp32_by": fp32["title"],
    }


def _usage(branch: Branch) -> Iterator[dict[str, Any]]:
    for row in branch.usage:
        if row["class"] == ALL_CLASSES:
            yield {**row, "network": branch.experts}


if __name__ == "__main__":
    main()
