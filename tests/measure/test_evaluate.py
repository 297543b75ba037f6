"""Both networks over a validation set; the data's loader is replaced by a list of batches."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ebcore.checkpoint import load_checkpoint
from ebcore.errors import InputError
from ebcore.measure import evaluate
from ebcore.measure.evaluate import Outcome, accuracies, evaluate_stage, scores, see_validation
from ebcore.models import EBResNet
from ebcore.models.checkpoint import save_model
from ebcore.packed import PackedModel, pack
from ebcore.params import load_params
from ebcore.workspace import checkpoint_file, packed_file

PARAMS = load_params(Path(__file__).parents[2] / "params" / "digits.yaml")
CLASSES = ["cat", "dog", "emu", "fox"]
IMAGES = torch.randn(10, 3, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3, 3])


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: EBResNet) -> EBResNet:
    """A folder with the checkpoint, and a validation set of 10 images in batches of 4."""
    monkeypatch.chdir(tmp_path)
    save_model(checkpoint_file("train_binary", 2), network, network.metadata)
    batches = [
        SimpleNamespace(images=images, labels=labels)
        for images, labels in zip(IMAGES.split(4), LABELS.split(4), strict=True)
    ]
    split = SimpleNamespace(classes=CLASSES, epoch=lambda _: iter(batches), close=lambda: None)

    def open_split(*_: object, normalisation: object, **__: object) -> SimpleNamespace:
        # An imported network was trained with another mean and std than the folder's.
        assert normalisation == (network.metadata["mean"], network.metadata["std"])
        return split

    monkeypatch.setattr(evaluate, "open_split", open_split)
    monkeypatch.setattr(evaluate, "load_manifest", lambda _: SimpleNamespace(sha256="f00d"))
    return network


def test_stage(prepared: EBResNet, packed: PackedModel) -> None:
    packed.save(packed_file(2))
    metrics = evaluate_stage(PARAMS, 2)
    assert json.loads(Path("metrics/evaluate-2.json").read_text()) == metrics
    with torch.no_grad():
        expected = prepared(IMAGES)
    assert metrics["images"] == 10
    assert metrics["pytorch_top1"] == 10 * int((expected.argmax(1) == LABELS).sum())
    assert metrics["pytorch_top5"] == 100  # of 4 classes
    assert abs(metrics["packed_top1"] - metrics["pytorch_top1"]) <= 10
    assert metrics["listed_percent"] == 10 * metrics["listed_images"]
    assert 0 <= metrics["gate_entropy"] <= 1  # two experts: one bit at most

    tensors, meta = load_checkpoint("evaluation/2.safetensors")
    assert meta["classes"] == CLASSES and meta["data_sha256"] == "f00d"
    assert len(meta["layers"]) == 12 == tensors["experts"].shape[1]
    assert torch.equal(tensors["labels"], LABELS)
    assert torch.equal(tensors["pytorch"], expected.argmax(1))
    logits = prepared.fc(tensors["features"])
    assert torch.allclose(logits, expected, atol=1e-5)

    with open("plots/evaluate-usage-2.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    last = meta["layers"][-1]
    images = [int(r["images"]) for r in rows if r["layer"] == last and r["class"] == "emu"]
    chosen = tensors["experts"][LABELS == 2, -1]
    assert images == [int((chosen == 0).sum()), int((chosen == 1).sum())]


def test_a_packed_file_of_other_weights_fails_and_writes_nothing(
    prepared: EBResNet, packed: PackedModel
) -> None:
    packed.save(packed_file(2))
    changed = prepared.stages[1][0][1].conv
    with torch.no_grad():
        changed.weight[:, 0] *= -1  # every kernel of one output channel
    save_model(checkpoint_file("train_binary", 2), prepared, prepared.metadata)
    with pytest.raises(InputError, match=r"disagrees.*stages\.1\.0\.1\.conv.*dvc repro"):
        evaluate_stage(PARAMS, 2)
    assert not any(Path(name).exists() for name in ("metrics", "plots", "evaluation"))


def outcome_of(pytorch: list[bool], packed: list[bool]) -> Outcome:
    outcome = Outcome(images=len(pytorch))
    for name, right in (("pytorch", pytorch), ("packed", packed)):
        for top in ("top1", "top5"):
            outcome.batches[f"{name}_{top}"] = [torch.tensor(right)]
    return outcome


def test_accuracies_may_differ_by_one_image_of_few() -> None:
    found = accuracies(outcome_of([True, True, False, False], [True, False, False, False]))
    assert found["pytorch_top1"] == 50 and found["packed_top1"] == 25
    with pytest.raises(InputError, match="differs from PyTorch's by 2 of 4 images"):
        accuracies(outcome_of([True, True, False, False], [False] * 4))
    # of 3000 images 0.1 % are 3
    accuracies(outcome_of([True] * 3000, [True] * 2997 + [False] * 3))
    with pytest.raises(InputError, match="by 4 of 3000"):
        accuracies(outcome_of([True] * 3000, [True] * 2996 + [False] * 4))


def test_what_another_packed_network_loses_is_reported(
    prepared: EBResNet, packed: PackedModel
) -> None:
    with torch.no_grad():
        expected = prepared(IMAGES)
        prepared.fc.weight *= -1
        prepared.fc.bias *= -1
        opposite = pack(prepared, (3, 8, 8))
        prepared.fc.weight *= -1
        prepared.fc.bias *= -1
    outcome, _ = see_validation(prepared, packed, PARAMS, rounded=opposite)
    found = scores(outcome)
    assert found["bf16_top1"] == 10 * int(((-expected).argmax(1) == LABELS).sum())
    assert found["bf16_loss"] == found["packed_top1"] - found["bf16_top1"]
