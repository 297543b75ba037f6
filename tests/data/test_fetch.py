from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from ebcore.data.fetch import fetch
from ebcore.data.folder import scan
from ebcore.errors import InputError
from ebcore.torchvision_compat import torchvision


def _content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_digits_are_all_there_split_by_class_and_the_same_each_time(tmp_path: Path) -> None:
    fetch("digits", tmp_path / "one")
    fetch("digits", tmp_path / "two")
    assert _content(tmp_path / "one") == _content(tmp_path / "two")
    found = scan(tmp_path / "one")
    assert found.classes == [str(digit) for digit in range(10)]
    assert (len(found.train), len(found.val)) == (1437, 360)
    names = [Path(image.path).name for image in found.train + found.val]
    assert len(set(names)) == 1797
    per_class = np.bincount([image.label for image in found.val])
    assert np.abs(per_class - np.bincount(load_digits().target) / 5).max() <= 1


def test_digits_show_the_scans(tmp_path: Path) -> None:
    fetch("digits", tmp_path / "digits", size=32)
    scans = load_digits()
    for path in sorted((tmp_path / "digits" / "val" / "3").iterdir())[:5]:
        index = int(path.stem)
        assert scans.target[index] == 3
        image = Image.open(path)
        assert image.size == (32, 32)
        small = np.asarray(image.resize((8, 8), Image.Resampling.BOX), float) / 255 * 16
        assert np.corrcoef(small.ravel(), scans.data[index])[0, 1] > 0.98


def test_sketches_are_the_same_each_time_and_tell_their_classes_apart(tmp_path: Path) -> None:
    fetch("sketches", tmp_path / "one")
    fetch("sketches", tmp_path / "two")
    assert _content(tmp_path / "one") == _content(tmp_path / "two")
    found = scan(tmp_path / "one")
    assert found.classes == [
        "arrow", "circle", "cross", "house", "spiral", "square", "star", "triangle"
    ]  # fmt: skip
    assert (len(found.train), len(found.val)) == (8 * 120, 8 * 30)
    assert len(set(_content(tmp_path / "one").values())) == 1200  # no drawing comes twice

    def pictures(split: str) -> tuple[np.ndarray, np.ndarray]:
        images = [Image.open(tmp_path / "one" / image.path) for image in found.split(split)]
        assert {image.size for image in images} == {(32, 32)}
        small = [np.asarray(image.resize((8, 8), Image.Resampling.BOX), float) for image in images]
        return np.stack(small).reshape(-1, 64), np.array([i.label for i in found.split(split)])

    (train, known), (val, labels) = pictures("train"), pictures("val")
    nearest = known[((val[:, None] - train) ** 2).sum(2).argmin(1)]
    assert (nearest == labels).mean() > 0.7  # a class is 0.125


def test_sketches_of_another_size(tmp_path: Path) -> None:
    fetch("sketches", tmp_path / "sketches", size=64)
    image = np.asarray(Image.open(tmp_path / "sketches" / "val" / "circle" / "0120.JPEG"), int)
    assert image.shape == (64, 64)
    assert image[:2].min() > 200 and image.min() < 60 and 0.7 < (image > 200).mean() < 0.97


def test_unknown_source_names_the_allowed_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'cifar'.*digits, sketches, cifar10, cifar100"):
        fetch("cifar", tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_cifar_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    monkeypatch.setattr(
        torchvision.datasets,
        "CIFAR10",
        lambda **_: SimpleNamespace(data=pixels, targets=[1, 0], classes=["airplane", "car"]),
    )
    fetch("cifar10", tmp_path / "cifar10")
    found = scan(tmp_path / "cifar10")
    assert [image.path for image in found.train] == [
        "train/airplane/00001.JPEG",
        "train/car/00000.JPEG",
    ]
    image = np.asarray(Image.open(tmp_path / "cifar10" / found.train[0].path), float)
    assert np.abs(image - pixels[1]).mean() < 2


def test_cifar_without_network_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets, "CIFAR100", refuse)
    with pytest.raises(InputError, match=r"no route.*data\.folder.*data\.fetch: \[\]"):
        fetch("cifar100", tmp_path / "cifar100")
    assert not [path for path in tmp_path.iterdir() if "cifar100" in path.name]
