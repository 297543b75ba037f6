"""What an entry of params.yaml changes, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def options_text(overrides: Mapping[str, Any]) -> str:
    """{"se": True, "stem_width": 8} -> "se=true stem_width=8"."""
    return " ".join(f"{key}={str(value).lower()}" for key, value in overrides.items())
