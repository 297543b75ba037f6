"""The stage `pack`: a trained network as a bit-packed file."""

from __future__ import annotations

import json
from typing import Any

from ebcore.files import atomic_write
from ebcore.measure.ops import count_ops
from ebcore.models import load_model
from ebcore.packed import pack
from ebcore.params import Params
from ebcore.workspace import metrics_file, network_checkpoint, packed_file


def packing_stage(params: Params, network: int | str) -> dict[str, Any]:
    """Writes packed/NETWORK.ebp and metrics/pack-NETWORK.json.

    Args:
        network: see `ebcore.workspace.network_checkpoint`.

    Returns: file_bytes; float_bytes, of the weights at 4 bytes each; ratio of the two; an image's
        binary and real operations; and the parameters that need one bit or 32.

    Raises:
        InputError: the checkpoint is missing or damaged, or cannot be packed.
    """
    input_size = (3, params.data.image_size, params.data.image_size)
    model = load_model(network_checkpoint(network))
    path = packed_file(network)
    path.parent.mkdir(exist_ok=True)
    pack(model, input_size).save(path)
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
    with atomic_write(metrics_file("pack", network)) as file:
        json.dump(metrics, file, indent=1)
    return metrics
