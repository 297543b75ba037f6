"""What all networks of the library have in common."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Network(nn.Module):
    """A classifier of images.

    Attributes:
        config: the arguments that build it again, and "architecture" where that is not EBConv's.
        metadata: of the checkpoint it was loaded from.
    """

    def __init__(self) -> None:
        super().__init__()
        self.config: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, C, H, W] -> the vectors before the classifier [B, D], and logits."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] -> logits [B, classes]."""
        return self.embed(x)[1]

    @property
    def title(self) -> str:
        """Its structure's name, for tables and files."""
        return str(self.config.get("spec") or self.config["architecture"])
