"""The steps of EBConv's policy."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ebcore.methods.ebconv import (
    absorb_scale,
    replicate,
    replicate_stage,
    start_model,
    training,
)
from ebcore.models import EBResNet, load_model, resnet, set_binarization
from ebcore.models.binarization import binary_convs
from ebcore.models.checkpoint import save_model
from ebcore.packed import agreement, pack
from ebcore.params import Params, load_params
from ebcore.workspace import checkpoint_file

PROFILE = Path(__file__).parents[2] / "params" / "digits.yaml"


def one_expert() -> EBResNet:
    torch.manual_seed(1)
    model = resnet("1111-2-2:2:2:2", experts=1, num_classes=4, width=8, stem_width=8, stem="small")
    set_binarization(model, inputs=True, weights=False)
    return model


@pytest.mark.parametrize("experts", [1, 2, 4, 8])
def test_replication_copies_every_kernel_bit_for_bit(experts: int) -> None:
    source = one_expert()
    copy = replicate(source, experts, seed=0)
    theirs = binary_convs(source)
    for name, conv in binary_convs(copy).items():
        assert conv.weight.shape[0] == experts
        for expert in conv.weight:
            assert torch.equal(expert, theirs[name].weight[0])
        assert conv.binary_input and not conv.binary_weight
    ours = copy.state_dict()
    for name, value in source.state_dict().items():
        if not name.endswith("conv.weight"):
            assert torch.equal(ours[name], value), name


def test_replicated_experts_compute_what_the_one_did() -> None:
    source = one_expert().eval()
    copy = replicate(source, 4, seed=0).eval()
    x = torch.randn(6, 3, 16, 16)
    torch.testing.assert_close(copy(x), source(x), rtol=1e-4, atol=1e-5)


def test_one_expert_replicates_to_itself() -> None:
    source = one_expert()
    copy = replicate(source, 1, seed=0)
    for name, value in source.state_dict().items():
        assert torch.equal(copy.state_dict()[name], value)
    assert copy.state_dict().keys() == source.state_dict().keys()


def test_gates_start_random_and_alike_for_a_seed() -> None:
    gates = []
    for seed in (0, 0, 1):
        copy = replicate(one_expert(), 2, seed)
        conv = next(iter(binary_convs(copy).values()))
        assert conv.gate is not None
        gates.append(conv.gate.linear.weight)
    assert torch.equal(gates[0], gates[1])
    assert not torch.equal(gates[0], gates[2])


def test_absorbed_scale_is_the_mean_magnitude() -> None:
    conv = next(iter(binary_convs(one_expert()).values()))
    with torch.no_grad():
        conv.weight.fill_(-0.25)
        conv.alpha.fill_(2.0)
    absorb_scale(conv)
    assert conv.alpha.tolist() == [0.5] * conv.out_channels


def test_steps_set_what_is_binary_and_where_they_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params = load_params(PROFILE)
    first = start_model(training("train_one", "4", params), num_classes=10)
    assert first.config["experts"] == 1
    save_model("checkpoints/train_one.safetensors", first, {})
    save_model("checkpoints/replicate-4.safetensors", replicate(first, 4, 0), {})
    third = start_model(training("train_experts", "4", params), num_classes=10)
    assert third.config["experts"] == 4
    save_model("checkpoints/train_experts-4.safetensors", third, {})
    fourth = start_model(training("train_binary", "4", params), num_classes=10)
    for model, weights in ((first, False), (third, False), (fourth, True)):
        for conv in binary_convs(model).values():
            assert (conv.binary_input, conv.binary_weight) == (True, weights)
    for name, conv in binary_convs(fourth).items():
        before = binary_convs(load_model("checkpoints/train_experts-4.safetensors"))[name]
        scale = before.weight.abs().mean((0, 2, 3, 4))
        assert torch.equal(conv.weight, before.weight)
        torch.testing.assert_close(conv.alpha, before.alpha * scale)


def trained(stage: str, params: Params, experts: int, images: torch.Tensor) -> EBResNet:
    """A stage with one step of training: from the checkpoint before it to its own."""
    model = start_model(training(stage, str(experts), params), num_classes=10)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    F.cross_entropy(model.train()(images), torch.arange(len(images))).backward()
    optimizer.step()
    save_model(checkpoint_file(stage, experts), model, {"stage": stage, "image_size": 16})
    return model


@pytest.mark.parametrize("experts", [1, 2, 4, 8])
def test_the_four_steps_chain(
    experts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step finds the file of the one before, and begins where that one ended."""
    monkeypatch.chdir(tmp_path)
    params = load_params(PROFILE)
    torch.manual_seed(0)
    images = torch.randn(10, 3, 16, 16)
    one = trained("train_one", params, experts, images)

    replicate_stage(params, experts)
    copy = load_model(checkpoint_file("replicate", experts)).state_dict()
    for name, source in one.state_dict().items():
        if name.endswith("conv.weight"):
            assert len(copy[name]) == experts
            assert all(torch.equal(kernel, source[0]) for kernel in copy[name]), name
        else:
            assert torch.equal(copy[name], source), name
    assert all(".gate." in name for name in copy.keys() - one.state_dict().keys())

    third = start_model(
        training("train_experts", str(experts), params), num_classes=10
    ).state_dict()
    assert third.keys() == copy.keys()
    assert all(torch.equal(value, copy[name]) for name, value in third.items())
    many = trained("train_experts", params, experts, images)
    if experts > 1:  # the gates' random start sends images to different experts
        assert any((c.weight != c.weight[:1]).any() for c in binary_convs(many).values())

    fourth = start_model(
        training("train_binary", str(experts), params), num_classes=10
    ).state_dict()
    changed = {k for k, v in many.state_dict().items() if not torch.equal(v, fourth[k])}
    assert {name.rpartition(".")[2] for name in changed} == {"alpha"}
    trained("train_binary", params, experts, images)
    last = load_model(checkpoint_file("train_binary", experts))
    assert last.config == {**one.config, "experts": experts}
    assert agreement(last, pack(last, (3, 16, 16)), images).violations == []
