"""A network and its description in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ebcore.checkpoint import load_checkpoint, save_checkpoint
from ebcore.errors import InputError
from ebcore.models.architectures import build
from ebcore.models.binarization import get_binarization, restore_binarization
from ebcore.models.network import Network
from ebcore.models.resnet import EBResNet

KIND = "model"


def save_model(path: str | Path, model: Network, metadata: dict[str, Any]) -> str:
    """Writes weights, structure, binarization state and `metadata`; returns the digest."""
    meta = {
        **metadata,
        "kind": KIND,
        "model": model.config,
        "experts": model.config.get("experts", 1),
        "binarization": get_binarization(model),
    }
    return save_checkpoint(path, model.state_dict(), meta)


def load_model(path: str | Path) -> Network:
    """Builds the network a checkpoint describes, in eval mode, with its `metadata`.

    Raises:
        InputError: missing, damaged or wrong file; the text names it.
    """
    tensors, meta = load_checkpoint(path)
    if meta.get("kind") != KIND:
        raise InputError(
            path, f"holds {meta.get('kind')!r}, not a model", "Give a file of checkpoints/."
        )
    try:
        model = build(meta["model"])
        model.load_state_dict(tensors)
        restore_binarization(model, meta["binarization"])
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            path, f"does not fit its own structure ({error})", "Make it again: `dvc repro`."
        ) from error
    model.metadata = meta
    return model.eval()


def load_resnet(path: str | Path) -> EBResNet:
    """`load_model` of a network of the EBConv family; raises InputError for any other too."""
    model = load_model(path)
    if not isinstance(model, EBResNet):
        raise InputError(
            path, f"holds {model.title}, no network of the EBConv family", "Give another file."
        )
    return model
