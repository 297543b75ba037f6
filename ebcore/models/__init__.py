"""Networks of the papers."""

from ebcore.models.binarization import set_binarization
from ebcore.models.checkpoint import load_model
from ebcore.models.hybrid_net import HybridNet
from ebcore.models.network import Network
from ebcore.models.resnet import EBResNet, resnet
from ebcore.models.spec import Spec, parse_spec

__all__ = [
    "EBResNet",
    "HybridNet",
    "Network",
    "Spec",
    "load_model",
    "parse_spec",
    "resnet",
    "set_binarization",
]
