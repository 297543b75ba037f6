"""What a network costs, how fast and how right it is, and which experts it uses."""

from ebcore.measure.ops import LayerOps, OpCount, count_ops

__all__ = ["LayerOps", "OpCount", "count_ops"]
