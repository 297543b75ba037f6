"""Binary convolutional networks: layers, recipes and a packed runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ebcore.models import load_model

__version__ = "0.1.0"
__all__ = ["__version__", "load_model"]


def __getattr__(name: str) -> Any:
    # Imported on use, so that `import ebcore` does not load torch.
    if name == "load_model":
        from ebcore.models import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
