"""Mixed precision."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch


def mixed_precision(amp: str, device: torch.device) -> tuple[Any, torch.amp.GradScaler]:
    """The autocast context and the loss scaler (at work for fp16 alone).

    Args:
        amp: "auto" (bfloat16 on a device that computes with it, else off), "off", "bf16" or "fp16".
    """
    if amp == "auto":
        amp = "bf16" if _computes_with_bf16(device) else "off"
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(amp)
    autocast = torch.autocast(device.type, dtype) if dtype else nullcontext()
    return autocast, torch.amp.GradScaler(device.type, enabled=amp == "fp16")


def _computes_with_bf16(device: torch.device) -> bool:
    """Without these instructions a CPU takes bfloat16 apart, slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def may_overflow(scaler: torch.amp.GradScaler) -> bool:
    """Whether a non-finite gradient may be due to the loss scale, which the scaler then lowers."""
    return scaler.is_enabled() and scaler.get_scale() > 1
