"""Ten crops by hand, and against torchvision's."""

import pytest
import torch
from torch import Tensor, nn

from ebcore.data.loader import open_split
from ebcore.errors import InputError
from ebcore.measure.evaluate import ten_crop_scores
from ebcore.measure.ten_crop import ten_crop_accuracy, ten_crop_log_probabilities, ten_crops
from ebcore.models import resnet
from ebcore.workspace import BETON
from tests.train.conftest import Place, place

__all__ = ["place"]
from ebcore.torchvision_compat import torchvision


def test_crops_by_hand() -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4)
    crops = ten_crops(image, 2)[0, :, 0]
    firsts = [int(crop[0, 0]) for crop in crops]
    # rows of 4: centre starts at 5, corners at 0, 2, 8, 10; mirrored rows count down from 3
    assert firsts == [5, 0, 2, 8, 10, 6, 3, 1, 11, 9]
    assert crops[9].tolist() == [[9, 8], [13, 12]]


@pytest.mark.parametrize(("height", "width", "size"), [(9, 7, 4), (8, 8, 3), (256, 300, 225)])
def test_they_are_those_of_torchvision(height: int, width: int, size: int) -> None:
    images = torch.randn(2, 1, height, width)
    top_left, top_right, bottom_left, bottom_right, centre, *mirrored = (
        torchvision.transforms.functional.ten_crop(images, size)
    )
    order = [centre, top_left, top_right, bottom_left, bottom_right]
    order += [mirrored[4], *mirrored[:4]]
    assert torch.equal(ten_crops(images, size), torch.stack(order, 1))


class Corner(nn.Module):
    """Logits (v, 0) with v the crop's first value."""

    def forward(self, x: Tensor) -> Tensor:
        first = x[:, 0, 0, 0]
        return torch.stack([first, torch.zeros_like(first)], 1)


def test_log_probabilities_are_averaged() -> None:
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 0, 0] = 10.0  # seen first by the top left crop alone
    image[0, 0, 0, 2] = -10.0  # and by that of the mirrored image
    found = ten_crop_log_probabilities(Corner(), image, 1)
    # A 1x1 crop sees one pixel; the corners are seen by 4 crops: 10, -10 and their mirrors.
    expected = (
        2 * torch.tensor([10.0, 0]).log_softmax(0)
        + 2 * torch.tensor([-10.0, 0]).log_softmax(0)
        + 6 * torch.tensor([0.0, 0]).log_softmax(0)
    ) / 10
    assert torch.allclose(found[0], expected)


def test_accuracy() -> None:
    images = torch.tensor([1.0, -1.0, 2.0]).view(3, 1, 1, 1).expand(3, 1, 3, 3)
    labels = torch.tensor([0, 1, 1])
    found = ten_crop_accuracy(Corner(), [(images[:2], labels[:2]), (images[2:], labels[2:])], 2)
    assert found == {"top1": pytest.approx(200 / 3), "top5": 100.0, "images": 3.0}


def test_what_cannot_be_cropped() -> None:
    with pytest.raises(InputError, match="images of 5x4 px: are smaller than crops of 5"):
        ten_crops(torch.zeros(1, 1, 4, 5), 5)
    with pytest.raises(InputError, match="has no images"):
        ten_crop_accuracy(Corner(), [], 2)


def test_the_stage_crops_the_larger_validation_images(place: Place) -> None:
    data = {**place.content["data"], "image_size": 12, "resize": 16, "crop": "none", "pad": 0}
    hybrid = {**place.content["hybrid"], "seeds": []}  # its network is built for 16 px
    params = place.params(data=data, evaluate={"ten_crop": True}, hybrid=hybrid, networks=[])
    torch.manual_seed(0)
    model = resnet("1111-1-1:1:1:1", width=8, stem="small", stem_width=8, experts=1, num_classes=3)
    model.eval().metadata = {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}
    whole = open_split(
        BETON,
        "val",
        params.data.model_copy(update={"image_size": 16}),
        batch_size=15,
        seed=0,
        normalisation=(model.metadata["mean"], model.metadata["std"]),
    )
    (batch,) = whole.epoch(0)
    crops = torchvision.transforms.functional.ten_crop(batch.images, 12)
    with torch.no_grad():
        logs = torch.stack([model(crop).log_softmax(1) for crop in crops]).mean(0)
    right = int((logs.argmax(1) == batch.labels).sum())
    found = ten_crop_scores(model, params)
    assert found == {"ten_crop_top1": 100 * right / 15, "ten_crop_top5": 100.0}
    assert ten_crop_scores(model, place.params()) == {}


def test_ten_crops_need_larger_images(place: Place) -> None:
    with pytest.raises(InputError, match=r"ten_crop needs data\.resize above data\.image_size"):
        place.params(evaluate={"ten_crop": True})
