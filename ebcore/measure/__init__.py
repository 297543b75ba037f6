"""What a network costs, how fast and how right it is, and which experts it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ebcore.measure.ops import LayerOps, OpCount, count_ops

__all__ = ["LayerOps", "OpCount", "count_ops"]


def __getattr__(name: str) -> Any:
    # Imported on use, so that a benchmark's process without torch does not load it.
    if name in __all__:
        from ebcore.measure import ops

        return getattr(ops, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
