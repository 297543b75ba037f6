"""Stage pack@N: the binary network as a bit-packed file."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from prefect import flow
from prefect.states import State

from ebcore.files import atomic_write
from ebcore.workspace import checkpoint_file, metrics_file, packed_file
from flows.stage import Stage, StageRun, main, perform


@flow(name="pack", flow_run_name="pack@{experts}", log_prints=True)
def pack(experts: int, force: bool = False) -> State[Any] | None:
    return perform(
        Stage(
            "pack",
            partial(_body, experts),
            item=experts,
            experts=experts,
            parameters=("model",),
            artifacts=(str(metrics_file("pack", experts)),),
        ),
        force,
    )


def _body(experts: int, run: StageRun) -> dict[str, Any]:
    """Writes the packed file.

    Returns: file_bytes; float_bytes, of the weights at 4 bytes each; ratio of the two; an image's
        binary and real operations; and the parameters that need one bit or 32.
    """
    from ebcore import load_model
    from ebcore.measure import count_ops
    from ebcore.packed import pack as compile_network

    input_size = (3, run.params.data.image_size, run.params.data.image_size)
    model = load_model(checkpoint_file("train_binary", experts))
    path = packed_file(experts)
    path.parent.mkdir(exist_ok=True)
    compile_network(model, input_size).save(path)
    file_bytes, operations = path.stat().st_size, count_ops(model, input_size)
    float_bytes = 4 * sum(parameter.numel() for parameter in model.parameters())
    metrics = {
        "file_bytes": file_bytes,
        "float_bytes": float_bytes,
        "ratio": float_bytes / file_bytes,
        "bops": operations.bops,
        "flops": operations.flops,
        "binary_parameters": operations.params_binary,
        "real_parameters": operations.params_real,
    }
    with atomic_write(metrics_file("pack", experts)) as file:
        json.dump(metrics, file, indent=1)
    return metrics


if __name__ == "__main__":
    main(pack)
