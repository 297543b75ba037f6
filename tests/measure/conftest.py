"""A small trained-looking network and its packed form."""

from __future__ import annotations

import pytest
import torch

from ebcore.models import EBResNet, resnet, set_binarization
from ebcore.packed import PackedModel, pack

CLASSES = ["cat", "dog", "emu", "fox"]


@pytest.fixture
def network() -> EBResNet:
    torch.manual_seed(0)
    model = resnet(
        "1111-2-2:2:2:2",
        experts=2,
        num_classes=len(CLASSES),
        stem="small",
        width=8,
        stem_width=8,
    )
    set_binarization(model, inputs=True, weights=True)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    model.metadata = {
        "model": model.config,
        "experts": 2,
        "classes": CLASSES,
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "image_size": 8,
        "resize": None,
    }
    return model.eval()


@pytest.fixture
def packed(network: EBResNet) -> PackedModel:
    return pack(network, (3, 8, 8))
