"""The study's results as rows: what was trained, what it costs, what it reaches."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ebcore.errors import InputError
from ebcore.growth.files import point_file
from ebcore.growth.structures import operations
from ebcore.params import Params, StructureParams
from ebcore.study.options import options_text


@dataclass(frozen=True)
class Point:
    """One structure; the columns of growth/growth.csv.

    Attributes:
        options: what it overrides of the model section beside spec, "key=value key=value".
        bops, flops: operations for one image, weights binary (see `ebcore.measure.ops`).
        binary_parameters, real_parameters: those of one bit and of 32.
        top1, top5: validation accuracy in percent, real weights and binary activations.
        epochs, seconds: of training, all its steps; a shared first step counts for each.
    """

    name: str
    series: str
    spec: str
    options: str
    experts: int
    bops: int
    flops: int
    binary_parameters: int
    real_parameters: int
    top1: float
    top5: float
    epochs: int
    seconds: float


def read_points(params: Params) -> list[Point]:
    """A point for each entry of growth.structures, in their order; other files are passed over.

    Raises:
        InputError: there are no entries, or one's result is missing or damaged.
    """
    structures = params.growth.structures
    if not structures:
        raise InputError(
            "params.yaml: growth.structures", "is empty", "params/digits.yaml shows entries."
        )
    return [_point(params, name, structure) for name, structure in structures.items()]


def _point(params: Params, name: str, structure: StructureParams) -> Point:
    path = point_file(name)
    remedy = f"Run `dvc repro growth/dvc.yaml:growth@{name}`."
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        count = operations(params, structure, result["classes"])
        return Point(
            name=name,
            series=structure.series,
            spec=structure.spec,
            options=options_text({k: v for k, v in structure.overrides.items() if k != "spec"}),
            experts=structure.experts,
            bops=count.bops,
            flops=count.flops,
            binary_parameters=count.params_binary,
            real_parameters=count.params_real,
            top1=result["top1"],
            top5=result["top5"],
            epochs=int(result["epochs"]),
            seconds=result["seconds"],
        )
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", remedy) from error
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(path, f"is no result of the study ({error!r})", remedy) from error
