"""The stages from a trained network to its report, for every method: pack, evaluate, benchmark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ebcore.params import Params
from ebcore.workspace import curve_file, metrics_file
from flows.stage import Stage, StageRun


def pack_stage(network: int | str) -> Stage:
    """`pack@N`, or `pack_network@NETWORK`."""

    def body(params: Params) -> dict[str, Any]:
        from ebcore.measure.packing import packing_stage

        return packing_stage(params, network)

    return _stage("pack", network, body, (), str(metrics_file("pack", network)))


def evaluate_stage(network: int | str) -> Stage:
    """`evaluate@N`, or `evaluate_network@NETWORK`."""

    def body(params: Params) -> dict[str, Any]:
        from ebcore.measure.evaluate import evaluate_stage

        return evaluate_stage(params, network)

    files = [str(metrics_file("evaluate", network))]
    if isinstance(network, int):
        files.append(str(curve_file("evaluate-usage", network)))
    return _stage("evaluate", network, body, ("evaluate",), *files)


def benchmark_stage(network: int | str) -> Stage:
    """`benchmark@N`, or `benchmark_network@NETWORK`."""

    def body(params: Params) -> dict[str, Any]:
        from ebcore.measure.benchmark import benchmark_stage

        return benchmark_stage(params, network)

    files = (str(metrics_file("benchmark", network)), str(curve_file("benchmark", network)))
    return _stage("benchmark", network, body, ("benchmark",), *files)


def _stage(
    name: str,
    network: int | str,
    body: Callable[[Params], dict[str, Any]],
    parameters: tuple[str, ...],
    *files: str,
) -> Stage:
    def run(stage: StageRun) -> dict[str, Any]:
        return body(stage.params)

    if isinstance(network, int):
        return Stage(
            name,
            run,
            item=network,
            experts=network,
            parameters=("model", *parameters),
            artifacts=files,
        )
    section = network.partition("_")[0]
    return Stage(
        f"{name}_network",
        run,
        item=network,
        network=network,
        parameters=(section, *parameters),
        artifacts=files,
    )
