"""Trains one variant with one seed, both steps of the recipe; keeps a variant's results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from ebcore.ablation.files import point_file
from ebcore.ablation.variants import alone
from ebcore.data.manifest import load_manifest
from ebcore.files import atomic_write
from ebcore.methods.ftbnn import STEPS
from ebcore.params import Params
from ebcore.study.records import InTurn, Record
from ebcore.train.job import make_job
from ebcore.train.launch import trained
from ebcore.workspace import BETON


def train_variant(
    params: Params,
    variant: str,
    seed: int,
    *,
    on_line: Callable[[str], None] = print,
    on_record: Record = lambda record: None,
) -> dict[str, float]:
    """Real weights, then binary ones; networks stay in the run directories.

    What is trained already, by the pipeline too, is not trained again: equal work has one run
    directory.

    Args:
        on_line, on_record: see `ebcore.train.launch.trained`. The second step's records count on
            from the first's.

    Returns:
        top1 (in percent, last epoch), top1_real_weights (the same after the first step), seed;
        epochs and seconds of both steps.

    Raises:
        InputError: no such variant, or one that cannot be; bad data.
    """
    mine, item, start = alone(params, variant, seed), f"{variant}-{seed}", None
    records, metrics = InTurn(on_record), []
    for stage in STEPS:
        job = make_job(stage, item, mine, start=start)
        with trained(job, on_line=on_line, on_record=records.next_training()) as result:
            start = result.network
            metrics.append(result.metrics)
    real, binary = metrics
    return {
        "seed": seed,
        "top1": binary["top1"],
        "top1_real_weights": real["top1"],
        "epochs": real["epochs"] + binary["epochs"],
        "seconds": real["seconds"] + binary["seconds"],
    }


def write_point(variant: str, results: Sequence[dict[str, float]]) -> None:
    """Writes ablation/points/VARIANT.json: what `train_variant` returned, and the data's sizes.

    Raises:
        InputError: bad data, or the file cannot be written.
    """
    manifest = load_manifest(BETON)
    point = {
        "classes": len(manifest.classes),
        "images": manifest.splits["val"].count,
        "runs": list(results),
    }
    with atomic_write(point_file(variant)) as file:
        json.dump(point, file, indent=1)
        file.write("\n")
