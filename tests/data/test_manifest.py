from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ebcore.data import manifest as manifest_module
from ebcore.data.convert import convert
from ebcore.data.loader import open_split
from ebcore.data.manifest import load_manifest
from ebcore.errors import InputError
from ebcore.params import DataParams, PrepareParams

Make = Callable[..., DataParams]


@pytest.fixture
def beton(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "beton"
    convert(small, out, PrepareParams(), "ffcv", name="x", progress=False)
    return out


def _expect_error(beton: Path, small: Path, data: Make, text: str) -> None:
    with pytest.raises(InputError, match=text):
        load_manifest(beton).verify(beton)
    with pytest.raises(InputError, match=text):
        open_split(beton, "train", data(small), batch_size=4, seed=0)


def test_untouched_files_pass(beton: Path) -> None:
    load_manifest(beton).verify(beton)


def test_truncated_beton(beton: Path, small: Path, data: Make) -> None:
    path = beton / "train.beton"
    path.write_bytes(path.read_bytes()[:-100])
    _expect_error(beton, small, data, r"train\.beton: holds \d+ bytes.*dvc repro -f prepare")


@pytest.mark.parametrize("remember_from", [0, 1 << 26])
def test_altered_beton(
    beton: Path, small: Path, data: Make, monkeypatch: pytest.MonkeyPatch, remember_from: int
) -> None:
    monkeypatch.setattr(manifest_module, "REMEMBER_FROM", remember_from)
    load_manifest(beton).verify(beton)
    path = beton / "train.beton"
    content = bytearray(path.read_bytes())
    content[-3000] ^= 1
    path.write_bytes(content)
    _expect_error(beton, small, data, r"train\.beton: its content differs.*dvc repro -f prepare")


def test_missing_beton(beton: Path, small: Path, data: Make) -> None:
    (beton / "train.beton").unlink()
    _expect_error(beton, small, data, r"train\.beton: the file is missing")


def test_large_files_are_hashed_once(beton: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    real = manifest_module.sha256_file

    def count(path: Path) -> str:
        hashed.append(path)
        return real(path)

    monkeypatch.setattr(manifest_module, "REMEMBER_FROM", 0)
    monkeypatch.setattr(manifest_module, "sha256_file", count)
    for _ in range(3):
        load_manifest(beton).verify(beton)
    assert len(hashed) == 2
    manifest_module.remembered_file().write_text("{ not JSON")  # is not trusted, and no obstacle
    load_manifest(beton).verify(beton)
    assert len(hashed) == 4


@pytest.mark.parametrize("content", [None, "", "{}", '{"version": 2}', "\x00"])
def test_bad_manifest(beton: Path, content: str | None) -> None:
    path = beton / "manifest.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"manifest\.json: .*dvc repro -f prepare"):
        load_manifest(beton)
