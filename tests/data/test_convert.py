from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebcore.data import inspection
from ebcore.data.convert import convert
from ebcore.data.loader import open_split
from ebcore.data.manifest import load_manifest
from ebcore.data.staging import replaced_folder
from ebcore.errors import InputError
from ebcore.params import DataParams, PrepareParams

PREPARE = PrepareParams()


def _convert(folder: Path, out: Path, loader: str = "ffcv", **changes: object) -> object:
    prepare = PREPARE.model_copy(update=changes)
    return convert(folder, out, prepare, loader, name="x", progress=False)  # type: ignore[arg-type]


def _expect_error(folder: Path, out: Path, text: str) -> None:
    """Both loaders refuse, name the fault, and leave nothing behind."""
    before = sorted(out.parent.iterdir())
    for loader in ("ffcv", "folder"):
        with pytest.raises(InputError, match=text):
            _convert(folder, out, loader)
        assert sorted(out.parent.iterdir()) == before


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_same_images_give_the_same_bytes(small: Path, tmp_path: Path, fraction: float) -> None:
    for out in ("one", "two", "one"):  # the third replaces the first
        _convert(small, tmp_path / out, jpeg_fraction=fraction, max_size=15)
    for file in ("train.beton", "val.beton", "manifest.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        "train.beton",
        "val.beton",
        "manifest.json",
    }


def test_a_second_process_is_refused_and_disturbs_nothing(small: Path, tmp_path: Path) -> None:
    """Few images: each start begins anew, so it must not clear away what another one writes."""
    out = tmp_path / "out"
    with replaced_folder(out) as partial:
        (partial / "begun").touch()
        with pytest.raises(InputError, match=f"out: is written already in process {os.getpid()}"):
            _convert(small, out, "folder")
        assert (partial / "begun").exists()
    assert [path.name for path in out.iterdir()] == ["begun"]
    _convert(small, out, "folder")  # the refusal has left nothing in the way
    assert [path.name for path in out.iterdir()] == ["manifest.json"]


def test_manifest_describes_the_images(small: Path, tmp_path: Path) -> None:
    made = _convert(small, tmp_path / "out", "folder")
    manifest = load_manifest(tmp_path / "out")
    assert manifest == made
    assert manifest.classes == ["ant", "bee", "cat"]
    assert {name: split.count for name, split in manifest.splits.items()} == {
        "train": 27,
        "val": 12,
    }
    pixels = np.stack([np.asarray(Image.open(p)) for p in sorted(small.glob("train/*/*"))]) / 255
    assert np.allclose(manifest.mean, pixels.mean((0, 1, 2)), atol=1e-12)
    assert np.allclose(manifest.std, pixels.std((0, 1, 2)), atol=1e-12)
    assert manifest.splits["train"].files == sorted(
        path.relative_to(small).as_posix() for path in small.glob("train/*/*")
    )


def test_data_hash_follows_the_images(small: Path, tmp_path: Path) -> None:
    first = _convert(small, tmp_path / "a", "folder").sha256  # type: ignore[attr-defined]
    assert _convert(small, tmp_path / "b", "folder").sha256 == first  # type: ignore[attr-defined]
    (small / "val" / "ant" / "0.JPEG").write_bytes((small / "val/ant/1.JPEG").read_bytes())
    assert _convert(small, tmp_path / "c", "folder").sha256 != first  # type: ignore[attr-defined]


def test_colours_of_a_huge_set_come_from_every_kth(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "COLOUR_SAMPLE", 9)  # of 27: every third
    manifest = _convert(small, tmp_path / "out", "folder")
    chosen = sorted(small.glob("train/*/*"))[::3]
    pixels = np.stack([np.asarray(Image.open(path)) for path in chosen]) / 255
    assert np.allclose(manifest.mean, pixels.mean((0, 1, 2)), atol=1e-12)  # type: ignore[attr-defined]


def test_many_images_are_checked_by_processes_with_the_same_result(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = _convert(small, tmp_path / "a", "folder")
    monkeypatch.setattr(inspection, "PARALLEL_FROM", 1)
    assert _convert(small, tmp_path / "b", "folder") == alone


def test_jpegs_keep_their_bytes_unless_they_shrink(varied: Path, tmp_path: Path) -> None:
    original = (varied / "train" / "ant" / "0.JPEG").read_bytes()
    _convert(varied, tmp_path / "kept")
    assert original in (tmp_path / "kept" / "train.beton").read_bytes()
    shrunk = _convert(varied, tmp_path / "shrunk", max_size=30)
    assert original not in (tmp_path / "shrunk" / "train.beton").read_bytes()
    split = shrunk.splits["train"]  # type: ignore[attr-defined]
    assert max(split.height[1], split.width[1]) == 30
    # 40x90 is the most oblong image there can be: 30 * 40 / 90 = 13.3.
    assert min(split.height[0], split.width[0]) >= 13


def test_image_larger_than_a_page(small: Path, tmp_path: Path) -> None:
    Image.new("RGB", (1000, 700)).save(small / "train" / "ant" / "large.JPEG")
    with pytest.raises(InputError, match=r"large\.JPEG: needs 2100000 bytes.*page_size"):
        _convert(small, tmp_path / "out", jpeg_fraction=0.0)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_missing_folders(small: Path, tmp_path: Path) -> None:
    _expect_error(tmp_path / "nowhere", tmp_path / "out", r"nowhere: no such folder\. .*train/")
    (small / "val").rename(small / "test")
    _expect_error(small, tmp_path / "out", r"val: no such folder\. Rename .*test to val")


def test_empty_class(small: Path, tmp_path: Path) -> None:
    for path in (small / "train" / "bee").iterdir():
        path.unlink()
    _expect_error(small, tmp_path / "out", r"train/bee: the class is empty\. Add images")


def test_class_mismatch(small: Path, tmp_path: Path) -> None:
    (small / "val" / "bee").rename(small / "val" / "dog")
    _expect_error(small, tmp_path / "out", r"bee only in train/; dog only in val/")


def test_corrupt_image(small: Path, tmp_path: Path) -> None:
    path = small / "val" / "cat" / "1.JPEG"
    path.write_bytes(path.read_bytes()[:-200])
    _expect_error(small, tmp_path / "out", r"val/cat/1\.JPEG: cannot be read \(.*[Tt]runcated")


def test_many_corrupt_images_are_counted_and_the_first_named(small: Path, tmp_path: Path) -> None:
    for path in (small / "train" / "ant").iterdir():
        path.write_text("no image")
    _expect_error(
        small, tmp_path / "out", r"9 files are no.*ant/0\.JPEG \(not an image\).* and 4 more"
    )


def test_corrupt_images_are_skipped_on_request_and_listed(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small / "train" / "bee" / "notes (1).txt").write_text("no image")
    manifest = _convert(small, tmp_path / "out", on_corrupt="skip")
    assert manifest.skipped == ["train/bee/notes (1).txt"]  # type: ignore[attr-defined]
    assert manifest.splits["train"].count == 27  # type: ignore[attr-defined]
    assert "notes (1).txt" in capsys.readouterr().out


def test_skipping_may_not_empty_a_class(small: Path, tmp_path: Path) -> None:
    for path in (small / "val" / "ant").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="val/ant: the class has no readable image"):
        _convert(small, tmp_path / "out", on_corrupt="skip")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_kinds_of_image_become_rgb(
    small: Path, tmp_path: Path, data: Callable[..., DataParams], mode: str
) -> None:
    image = Image.new("RGB", (16, 16), (200, 100, 50))
    image = image.quantize() if mode == "P" else image.convert(mode)  # P: without dithering
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG" if mode in ("L", "CMYK") else "PNG", quality=100)
    path = small / "val" / "ant" / "0.JPEG"
    path.write_bytes(buffer.getvalue())
    _convert(small, tmp_path / "out", quality=100)
    manifest = load_manifest(tmp_path / "out")
    expected = np.asarray(Image.open(path).convert("RGB"), float)[8, 8] / 255
    with_val = open_split(tmp_path / "out", "val", data(small), batch_size=1, seed=0)
    pixel = next(iter(with_val.epoch(0))).images[0, :, 8, 8].numpy()
    with_val.close()
    assert np.allclose(pixel * manifest.std + manifest.mean, expected, atol=0.02)
