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
def pack(experts: int) -> State[Any] | None:
    return perform(
        Stage(
            "pack",
            partial(_body, experts),
            item=experts,
            experts=experts,
            parameters=("model",),
            artifacts=(str(metrics_file("pack", experts)),),
        )
    )


def _body(experts: int, run: StageRun) -> dict[str, Any]:
    """bytes: of the packed file; float_bytes: the weights' at 4 bytes each; ratio: of the two."""
    from ebcore import load_model
    from ebcore.packed import pack as compile_network

    size = run.params.data.image_size
    model = load_model(checkpoint_file("train_binary", experts))
    path = packed_file(experts)
    path.parent.mkdir(exist_ok=True)
    compile_network(model, (3, size, size)).save(path)
    floats = 4 * sum(p.numel() for p in model.parameters())
    packed = path.stat().st_size
    metrics = {"bytes": packed, "float_bytes": floats, "ratio": floats / packed}
    with atomic_write(metrics_file("pack", experts)) as file:
        json.dump(metrics, file, indent=1)
    return metrics


if __name__ == "__main__":
    main(pack)
