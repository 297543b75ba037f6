"""What the page of Hybrid Binary Networks reads: the files of the listed versions and seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ebcore.methods.hybrid import STEPS
from ebcore.models.hybrid_net import VERSIONS
from ebcore.params import Params
from ebcore.report.files import Row, Trained, read, read_json, read_rows, read_trained
from ebcore.workspace import curve_file, metrics_file

OWN_STAGE = {step.version: step.stage for step in STEPS.values() if step.version}


@dataclass(frozen=True)
class Choice:
    """A seed's partition.

    Attributes:
        found: chosen, layers, clusters, share; see `ebcore.methods.hybrid.partition_stage`.
        rows: a row per layer, of `ebcore.methods.hybrid.COLUMNS`.
    """

    found: dict[str, Any]
    rows: list[Row]


@dataclass(frozen=True)
class HybridResults:
    """Results of the method.

    Attributes:
        trained: by version, in the order of `VERSIONS`, then by seed.
        choices: by seed.
    """

    trained: dict[str, dict[int, Trained]]
    choices: dict[int, Choice]


def read_hybrid(params: Params) -> HybridResults:
    """Reads all seeds.

    Raises:
        InputError: a file is missing or damaged; the text names it and the stage that makes it.
    """
    seeds, listed = params.hybrid.seeds, {*OWN_STAGE, *params.hybrid.versions}
    trained = {
        version: {seed: read_trained(*address(version, seed)) for seed in seeds}
        for version in VERSIONS
        if version in listed
    }
    return HybridResults(trained, {seed: read_choice(seed) for seed in seeds})


def address(version: str, seed: int) -> tuple[str, str]:
    """Stage and item that train a version."""
    if version in OWN_STAGE:
        return OWN_STAGE[version], str(seed)
    return "hybrid_compared", f"{version}-{seed}"


def read_choice(seed: int) -> Choice:
    """A seed's partition.

    Raises:
        InputError: as `read_hybrid`.
    """
    stage = "hybrid_partition"
    return Choice(
        read(metrics_file(stage, seed), f"{stage}@{seed}", read_json),
        read(curve_file(stage, seed), f"{stage}@{seed}", read_rows),
    )
