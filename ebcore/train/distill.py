"""What a teacher adds to the loss: attention and logit matching (EBConv A.5).

Attention matching (Real-to-Binary section 4.2, Eq. 2, in the form of EBConv's released code): at
each chosen stage output A, [B, C, H, W], the map Q = mean over channels of A^2 is flattened and
L2-normalised per sample; the loss is the sum over stages of mean((Q_student - Q_teacher)^2).

Logit matching: the Kullback-Leibler divergence of the softmax outputs, per sample, times T^2. The
released code averages over classes as well, with a weight of 1000: on ImageNet that is this with
a weight of 1.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ebcore.models import EBResNet
from ebcore.models.checkpoint import load_resnet
from ebcore.params import DistillParams


class Distillation:
    """A teacher, and the student's stage outputs that are compared with it.

    Args:
        student: the network in training; its stages get hooks.
        teacher: a checkpoint of a network with the same number of stages and classes.
        device: where both compute.
        params: weights of the two terms.

    Raises:
        InputError: the teacher's file is missing or damaged.
    """

    def __init__(
        self, student: EBResNet, teacher: Path, device: torch.device, params: DistillParams
    ) -> None:
        self._params = params
        self._teacher = load_resnet(teacher).to(device).requires_grad_(False)
        self._student_maps: dict[int, Tensor] = {}
        self._teacher_maps: dict[int, Tensor] = {}
        for point in params.points if params.attention else ():
            _keep(student.stages[point], point, self._student_maps)
            _keep(self._teacher.stages[point], point, self._teacher_maps)

    def loss(self, images: Tensor, logits: Tensor) -> Tensor:
        """The weighted terms for the batch that the student has just seen.

        Args:
            images: [B, C, H, W].
            logits: the student's, [B, classes].
        """
        params = self._params
        with torch.no_grad():
            taught = self._teacher(images)
        total = logits.new_zeros((), dtype=torch.float32)
        if params.logits:
            total = total + params.logits * logit_loss(logits, taught, params.temperature)
        for point in list(self._student_maps):  # popped: they would keep the graph alive
            student, teacher = self._student_maps.pop(point), self._teacher_maps.pop(point)
            total = total + params.attention * attention_loss(student, teacher)
        return total


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two attention maps, from outputs [B, C, H, W].

    The numbers of channels may differ.
    """
    return F.mse_loss(_attention(student), _attention(teacher))


def logit_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher || student) per sample for logits [B, classes], times temperature^2."""
    ours = (student.float() / temperature).log_softmax(1)
    theirs = (teacher.float() / temperature).log_softmax(1)
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2


def _attention(output: Tensor) -> Tensor:
    return F.normalize(output.float().square().mean(1).flatten(1), dim=1)


def _keep(stage: nn.Module, point: int, maps: dict[int, Tensor]) -> None:
    def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
        maps[point] = output

    stage.register_forward_hook(hook)
