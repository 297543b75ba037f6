"""Mixed precision."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch


def mixed_precision(amp: str, device: torch.device) -> tuple[Any, torch.amp.GradScaler]:
    """The autocast context and the loss scaler (at work for fp16 alone).

    Args:
        amp: "auto" (bfloat16 on a GPU that has it, else off), "off", "bf16" or "fp16".
    """
    if amp == "auto":
        amp = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "off"
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(amp)
    autocast = torch.autocast(device.type, dtype) if dtype else nullcontext()
    return autocast, torch.amp.GradScaler(device.type, enabled=amp == "fp16")


def may_overflow(scaler: torch.amp.GradScaler) -> bool:
    """Whether a non-finite gradient may be due to the loss scale, which the scaler then lowers."""
    return scaler.is_enabled() and scaler.get_scale() > 1
