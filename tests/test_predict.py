"""`ebcore pack`, `predict` and `bench` on a small network, through the command's functions."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from ebcore.cli import main
from ebcore.errors import InputError
from ebcore.models import EBResNet, resnet, set_binarization
from ebcore.models.checkpoint import save_model
from ebcore.packed import load, pack
from ebcore.predict import predict_images

CLASSES = ["cat", "dog", "emu"]


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EBResNet:
    """Its checkpoint is model.safetensors in the current folder, beside a black image.png."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = resnet("1111-1-1:1:1:1", num_classes=3, stem="small", width=8, stem_width=8)
    set_binarization(model, inputs=True, weights=True)
    about = {"classes": CLASSES, "mean": [0.5] * 3, "std": [0.25] * 3}
    model.metadata = {**about, "image_size": 8, "resize": None}
    save_model("model.safetensors", model, model.metadata)
    Image.new("RGB", (8, 8)).save("image.png")
    return model.eval()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["ebcore", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)


def test_probabilities_are_those_of_the_network(network: EBResNet) -> None:
    pack(network, (3, 8, 8)).save("model.ebp")
    ((path, ranked),) = predict_images("model.ebp", [Path("image.png")], top=2, threads=1)
    # black is 0, so (0 - 0.5) / 0.25 = -2 everywhere
    with torch.no_grad():
        expected = network(torch.full((1, 3, 8, 8), -2.0))[0].softmax(0)
    order = expected.argsort(descending=True)[:2].tolist()
    assert path == Path("image.png")
    assert [name for name, _ in ranked] == [CLASSES[i] for i in order]
    assert [p for _, p in ranked] == pytest.approx(expected[order].tolist(), rel=1e-3)


def test_an_image_of_another_size_is_resized(network: EBResNet) -> None:
    pack(network, (3, 8, 8)).save("model.ebp")
    Image.new("RGB", (40, 20)).save("large.png")
    small, large = predict_images(
        "model.ebp", [Path("image.png"), Path("large.png")], top=3, threads=1
    )
    assert dict(small[1]) == pytest.approx(dict(large[1]))


def test_a_file_that_is_no_image_is_named(network: EBResNet) -> None:
    pack(network, (3, 8, 8)).save("model.ebp")
    Path("text.png").write_text("no image")
    with pytest.raises(InputError, match=r"text\.png"):
        list(predict_images("model.ebp", [Path("text.png")], top=1, threads=1))


def test_a_missing_image_or_a_folder_is_told_before_any_result(network: EBResNet) -> None:
    pack(network, (3, 8, 8)).save("model.ebp")
    for wrong, reason in (("none.png", "does not exist"), (".", "is a folder")):
        results = predict_images("model.ebp", [Path("image.png"), Path(wrong)], top=1, threads=1)
        with pytest.raises(InputError, match=reason):
            next(results)


def test_a_truncated_image_is_named_after_those_before_it(
    network: EBResNet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(network, (3, 8, 8)).save("model.ebp")
    Image.effect_noise((64, 64), 50).save("noise.jpg")
    Path("short.jpg").write_bytes(Path("noise.jpg").read_bytes()[:400])
    images = ("noise.jpg", "image.png", "short.jpg")
    assert run(monkeypatch, "predict", "model.ebp", *images, "--top", "3") == 2
    shown = capsys.readouterr()
    assert shown.err.splitlines()[-1].startswith("error: short.jpg: cannot be read")
    assert shown.out.index("noise.jpg") < shown.out.index("image.png")
    percents = [float(line.split()[-2]) for line in shown.out.splitlines() if "%" in line]
    assert len(percents) == 2 * 3 and "short.jpg" not in shown.out
    # three classes: each image's probabilities sum to 100 % within three roundings
    assert sum(percents[:3]) == pytest.approx(100, abs=0.03)
    assert percents[:3] == sorted(percents[:3], reverse=True)


def test_a_packed_file_without_classes_says_so(network: EBResNet) -> None:
    network.metadata = {"mean": [0.5] * 3, "std": [0.25] * 3, "image_size": 8}
    pack(network, (3, 8, 8)).save("model.ebp")
    with pytest.raises(InputError, match="does not say its classes"):
        list(predict_images("model.ebp", [Path("image.png")], top=1, threads=1))


def test_pack_predict_and_bench_from_the_command_line(
    network: EBResNet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "pack", "model.safetensors", "model.ebp") == 0
    assert load("model.ebp").metadata["classes"] == CLASSES
    assert f"model.ebp: {Path('model.ebp').stat().st_size:,} bytes" in capsys.readouterr().out
    assert run(monkeypatch, "predict", "model.ebp", "image.png", "--top", "2") == 0
    text = capsys.readouterr().out
    assert "image.png" in text and text.count("%") == 2
    quick = ("--repeats", "3", "--min-seconds", "0", "--no-peers", "--csv", "rows.csv")
    assert run(monkeypatch, "bench", "model.ebp", *quick) == 0
    text = capsys.readouterr().out
    assert "Whole network" in text and "of the limit" in text
    # every layer has a shape of its own here: the 3x3 and the 1x1 of 8 to 64 channels
    assert "8-8 3x3/1 g1 8x8" in text and "64-64 1x1/1 g1 1x1" in text
    with open("rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["candidate"] for row in rows} == {"packed"}
    assert sum(len(row["layers"].split()) for row in rows) == 12
    assert all(float(row["ms"]) > 0 and float(row["share"]) > 0 for row in rows)


def test_a_truncated_packed_file_is_one_line(
    network: EBResNet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(network, (3, 8, 8)).save("model.ebp")
    Path("model.ebp").write_bytes(Path("model.ebp").read_bytes()[:1000])
    assert run(monkeypatch, "predict", "model.ebp", "image.png") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: model.ebp: ")
