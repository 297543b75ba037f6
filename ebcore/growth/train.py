"""Trains one structure of the study; the run directories share what structures have in common."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ebcore.data.manifest import load_manifest
from ebcore.files import atomic_write
from ebcore.growth.files import point_file
from ebcore.growth.structures import check_structures, find_structure, operations, variant
from ebcore.methods.ebconv import replicate
from ebcore.models.checkpoint import load_resnet, save_model
from ebcore.params import Params
from ebcore.study.records import InTurn, Record
from ebcore.train.job import make_job
from ebcore.train.launch import Trained, trained
from ebcore.workspace import BETON


def growth_stage(
    params: Params,
    name: str,
    *,
    on_line: Callable[[str], None] = print,
    on_record: Record = lambda record: None,
) -> dict[str, float]:
    """Trains growth.structures.NAME and writes growth/points/NAME.json.

    One expert: step 1 of the policy. Several: steps 1 to 3, intermediate networks in the run
    directories. Equal first steps are trained once: they have one run directory.

    Args:
        on_line, on_record: see `ebcore.train.launch.trained`. Step 3's records count on from
            step 1's.

    Returns:
        Validation top1, top5, best_top1 and loss after the last step; epochs and seconds of all
        steps; bops, flops, binary_parameters, real_parameters.

    Raises:
        InputError: a structure of the study, this one or another, cannot be built; bad data.
    """
    check_structures(params)
    structure = find_structure(params, name)
    mine = variant(params, structure)
    # One expert has no gate: its options must not make two run directories of one training.
    gate = {"gate": params.model.gate, "temperature": params.model.temperature}
    one = mine.model_copy(update={"model": mine.model.model_copy(update=gate)})
    results: list[Trained] = []
    records = InTurn(on_record)
    job = make_job("train_one", 1, one)
    with trained(job, on_line=on_line, on_record=records.next_training()) as result:
        results.append(result)
        if structure.experts > 1:
            start = result.network.with_name(f"replicate-{name}.safetensors")
            _replicate(result.network, start, mine, structure.experts)
    if structure.experts > 1:
        job = make_job("train_experts", structure.experts, mine, start=start)
        with trained(job, on_line=on_line, on_record=records.next_training()) as result:
            results.append(result)
    final = results[-1].metrics
    classes = len(load_manifest(BETON).classes)
    point = {
        **{key: final[key] for key in ("top1", "top5", "best_top1", "loss")},
        **{key: sum(result.metrics[key] for result in results) for key in ("epochs", "seconds")},
        "classes": classes,
    }
    with atomic_write(point_file(name)) as file:
        json.dump(point, file, indent=1)
        file.write("\n")
    count = operations(params, structure, classes)
    return {
        **point,
        "bops": count.bops,
        "flops": count.flops,
        "binary_parameters": count.params_binary,
        "real_parameters": count.params_real,
    }


def _replicate(source: Path, target: Path, params: Params, experts: int) -> None:
    """Step 2, with the gate that the structure asks for."""
    model = load_resnet(source)
    model.config |= {"gate": params.model.gate, "temperature": params.model.temperature}
    copy = replicate(model, experts, params.seed)
    save_model(target, copy, {**model.metadata, "stage": "replicate"})
