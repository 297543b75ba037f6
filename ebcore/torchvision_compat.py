"""The one door to torchvision.

torchvision's wheel on the default index is a CUDA build; beside a CPU build of torch its compiled
operators cannot load and importing it fails. Only two of them are named at import, so their
schemas are declared here and the import is tried again. Datasets, models and transforms then
work; `torchvision.ops.nms` and `torchvision.io` do not.
"""

from __future__ import annotations

import sys

import torch

_MISSING = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_library: torch.library.Library | None = None  # its schemas vanish when it is collected

try:
    import torchvision
except RuntimeError as error:
    if "operator torchvision::" not in str(error):
        raise
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for _name, _schema in _MISSING.items():
        if not hasattr(torch.ops.torchvision, _name):
            _library.define(_schema)
    for _module in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[_module]
    import torchvision

__all__ = ["torchvision"]
