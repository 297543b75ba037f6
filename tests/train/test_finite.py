"""A non-finite number stops training before it reaches the weights."""

import pytest
import torch
from torch import Tensor, nn

from ebcore.errors import InputError
from ebcore.train.distributed import Group
from ebcore.train.finite import PeerFailed, check_finite

ALONE = Group(0, 1, torch.device("cpu"), 1)
IMAGES = torch.ones(2, 2)


class WithPeer(Group):
    """A process beside one whose loss is bad."""

    def any(self, flags: list[bool]) -> list[bool]:
        return [True] * len(flags)


def checked(model: nn.Module, loss: Tensor, group: Group = ALONE, images: Tensor = IMAGES) -> None:
    indices = torch.tensor([5, 6])
    check_finite(model, loss, group, step=7, epoch=2, images=images, indices=indices)


def trained_once(weight: float = 0.5) -> tuple[nn.Sequential, Tensor]:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    with torch.no_grad():
        model[1].weight.fill_(weight)
    loss = model(IMAGES).sum()
    loss.backward()
    return model, loss.detach()


def test_finite_numbers_pass() -> None:
    checked(*trained_once())


def test_a_bad_gradient_is_named_with_step_and_batch() -> None:
    model, loss = trained_once()
    assert model[1].weight.grad is not None
    model[1].weight.grad[0, 1] = torch.nan
    with pytest.raises(InputError) as caught:
        checked(model, loss)
    text = str(caught.value)
    for part in ("step 7 (epoch 2)", "gradient of 1.weight", "2 samples: 5, 6"):
        assert part in text


def test_a_bad_loss_names_the_layer_where_it_began() -> None:
    with pytest.raises(InputError, match="the output of 1 is not finite"):
        checked(*trained_once(torch.nan))


def test_a_bad_image_is_named_as_the_input() -> None:
    model, _ = trained_once()
    with pytest.raises(InputError, match="the input is not finite"):
        checked(model, torch.tensor(torch.inf), images=IMAGES * torch.nan)


def test_the_process_with_the_bad_loss_reports_it() -> None:
    model, loss = trained_once()
    assert model[0].weight.grad is not None
    model[0].weight.grad[0, 0] = torch.inf  # averaged with the peer's
    with pytest.raises(PeerFailed):
        checked(model, loss, WithPeer(0, 2, torch.device("cpu"), 1))
