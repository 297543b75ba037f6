"""Mixup by hand."""

import torch

from ebcore.train.mixup import mixup


def mixed(alpha: float, seed: int = 0, step: int = 0, rank: int = 0) -> tuple[torch.Tensor, ...]:
    images = torch.arange(6.0).view(6, 1, 1, 1)
    labels = torch.arange(6)
    return mixup(images, labels, 6, alpha=alpha, seed=seed, step=step, rank=rank)


def test_off_leaves_images_and_gives_certain_targets() -> None:
    images, targets = mixed(0)
    assert images.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(targets, torch.eye(6))


def test_targets_are_blended_as_the_images_are() -> None:
    images, targets = mixed(1.0)
    # Image i holds the number i, so a blend of images is the blended labels' mean.
    torch.testing.assert_close(images.flatten(), targets @ torch.arange(6.0))
    torch.testing.assert_close(targets.sum(1), torch.ones(6))
    assert not torch.equal(targets, torch.eye(6))


def test_it_is_a_function_of_seed_step_and_rank() -> None:
    first = mixed(1.0, 3, 4, 1)[0]
    assert torch.equal(first, mixed(1.0, 3, 4, 1)[0])
    for other in ((4, 4, 1), (3, 5, 1), (3, 4, 0)):
        assert not torch.equal(first, mixed(1.0, *other)[0])
