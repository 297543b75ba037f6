"""EBConv's training policy (High-Capacity Expert Binary Networks, sections 3, 4.1 and A.5).

1. train_one: one expert, real weights, binary activations, from scratch.
2. replicate: its kernel becomes every expert's start; the gates start random, which alone
   breaks the symmetry.
3. train_experts: N experts, real weights, binary activations.
4. train_binary: N experts, binary weights, binary activations, from the end of 3.

With distillation (A.5, "AT+KD") a real-valued network of the same structure, trained before by
train_real, teaches steps 1 and 3, and the network of step 3 teaches the one of step 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d
from ebcore.models import EBResNet, resnet, set_binarization
from ebcore.models.binarization import binary_convs
from ebcore.models.checkpoint import load_resnet, save_model
from ebcore.params import Params
from ebcore.train.training import Training, require_step
from ebcore.workspace import SHARED_STAGES, checkpoint_file


@dataclass(frozen=True)
class Step:
    """One training step of the policy.

    Attributes:
        stage: its name in dvc.yaml and params.yaml.
        number: in the paper's policy; replication is 2, the teacher comes before.
        title: for logs and reports.
        start: the stage whose checkpoint it continues; None starts from random weights.
        teacher: the stage whose network teaches it, where its parameters ask for that.
        binary_inputs: whether activations are binary.
        binary_weights: stage II of the paper.
    """

    stage: str
    number: int
    title: str
    start: str | None = None
    teacher: str | None = None
    binary_inputs: bool = True
    binary_weights: bool = False


STEPS = {
    step.stage: step
    for step in (
        Step("train_real", 0, "teacher, nothing binary", binary_inputs=False),
        Step("train_one", 1, "one expert, real weights", teacher="train_real"),
        Step("train_experts", 3, "N experts, real weights", "replicate", "train_real"),
        Step(
            "train_binary",
            4,
            "N experts, binary weights",
            "train_experts",
            "train_experts",
            binary_weights=True,
        ),
    )
}


def training(stage: str, item: str, params: Params) -> Training:
    """A step for `item` experts; a shared step trains one, whatever it is given.

    Raises:
        InputError: no step of the policy, or no number of experts.
    """
    require_step(stage, STEPS)
    step, train = STEPS[stage], params.train(stage)
    shared = stage in SHARED_STAGES
    if not shared and not item.isdecimal():
        raise InputError(f"{stage}@{item}", "names no expert count", f"Use for example {stage}@4.")
    return Training(
        stage=stage,
        item="" if shared else item,
        params=params,
        train=train,
        content={"experts": 1 if shared else int(item), "model": params.model.model_dump()},
        start=checkpoint_file(step.start, item) if step.start else None,
        teacher=checkpoint_file(step.teacher, item) if step.teacher and train.distill else None,
    )


def start_model(training: Training, num_classes: int) -> EBResNet:
    """The network a step begins with, its binarization set.

    Raises:
        InputError: the checkpoint to start from is missing or damaged.
    """
    step, params = STEPS[training.stage], training.params
    if training.start is None:
        torch.manual_seed(params.seed)
        model = resnet(**_structure(step, params), experts=1, num_classes=num_classes)
    else:
        model = load_resnet(training.start)
    continue_binary(model, inputs=step.binary_inputs, weights=step.binary_weights)
    return model


def continue_binary(model: EBResNet, *, inputs: bool, weights: bool) -> None:
    """Sets what is binary from now on; weights that become so give alpha their magnitude."""
    was_binary = all(conv.binary_weight for conv in binary_convs(model).values())
    set_binarization(model, inputs=inputs, weights=weights)
    if weights and not was_binary:
        for conv in binary_convs(model).values():
            absorb_scale(conv)


def _structure(step: Step, params: Params) -> dict[str, Any]:
    options = params.model.model_dump()
    teacher = params.train_real
    if step.stage == "train_real" and teacher and teacher.spec:
        options["spec"] = teacher.spec
    return options


def absorb_scale(conv: BinaryConv2d) -> None:
    """alpha <- alpha * mean |theta| per output channel, so that the output keeps its scale.

    sign() forgets the weights' magnitude; XNOR-Net's estimate puts it into alpha once, at the
    start of step 4. The paper does not say how alpha starts there: our choice.
    """
    if conv.alpha is None:  # a layout without a learned scale
        return
    with torch.no_grad():
        conv.alpha.mul_(conv.weight.abs().mean((0, 2, 3, 4)))


def replicate(model: EBResNet, experts: int, seed: int) -> EBResNet:
    """Step 2: a network with `experts` copies of each kernel and freshly drawn gates.

    Everything else is taken over bit for bit; with one expert it is the identity.
    """
    torch.manual_seed(seed)
    copy = resnet(**{**model.config, "experts": experts})
    state = copy.state_dict()
    for name, value in model.state_dict().items():
        state[name].copy_(value)  # [1, ...] broadcasts over the experts of [N, ...]
    set_binarization(copy, inputs=True, weights=False)
    copy.metadata = model.metadata
    return copy


def replicate_stage(params: Params, experts: int) -> dict[str, float]:
    """checkpoints/train_one -> checkpoints/replicate-N; returns {"experts", "parameters"}."""
    source = load_resnet(checkpoint_file("train_one", experts))
    copy = replicate(source, experts, params.seed)
    metadata = {**source.metadata, "stage": "replicate"}
    save_model(checkpoint_file("replicate", experts), copy, metadata)
    parameters = sum(p.numel() for p in copy.parameters())
    return {"experts": float(experts), "parameters": float(parameters)}
