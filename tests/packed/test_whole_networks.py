"""Whole networks of full width on every instruction set, against PyTorch by both rules of
`ebcore.packed.agreement`: the default profile's validation images, and random images at 224 px.

Weights are random; BatchNorm statistics and gates come from other images of the same kind.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ebcore.data.digits import write_digits
from ebcore.data.image import open_rgb
from ebcore.models import EBResNet, resnet
from ebcore.packed import agreement, available, pack
from ebcore.packed.isa import VARIABLE
from tests.networks import calibrate, pictures, randomise

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NETWORKS = {
    "ResNet-18": "2222-1-1:1:1:1",
    "ResNet-18 grouped": "2222-2-4:4:8:8",
    "1262": "1262-2-1:1:1:1",
    "1262 grouped": "1262-2-4:8:8:16",
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    """The 360 validation scans of digits at 16 px, normalised."""
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder, 16)
    files = sorted((folder / "val").rglob("*.JPEG"))
    pixels = np.stack([np.asarray(open_rgb(file)) for file in files])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    return (images - images.mean()) / images.std()


def random_network(name: str, experts: int, stem: str, images: Tensor) -> EBResNet:
    torch.manual_seed(0)
    model = resnet(NETWORKS[name], experts=experts, stem=stem, num_classes=10)
    randomise(model)
    calibrate(model, images)
    return model.eval()


@pytest.mark.parametrize("experts", [1, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_digits(name: str, experts: int, digits: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_network(name, experts, "small", digits[::9])
    for isa in available():
        monkeypatch.setenv(VARIABLE, isa)
        report = agreement(model, pack(model, (3, 16, 16)), digits, batch_size=60)
        assert report.violations == [], isa
        assert report.images == 360
        # With most images listed, end to end would say little.
        assert report.listed_share <= 0.5
        assert len(report.reference_top1.unique()) > 1


@pytest.mark.parametrize("experts", [1, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_random_images(name: str, experts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stem = "basic" if name.startswith("ResNet") else "efficient"
    model = random_network(name, experts, stem, pictures(8, 224, seed=1))
    images = pictures(4, 224)
    for isa in available():
        monkeypatch.setenv(VARIABLE, isa)
        report = agreement(model, pack(model, (3, 224, 224)), images, batch_size=4)
        assert report.violations == [], isa
        assert report.listed_share < 1
