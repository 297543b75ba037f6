from __future__ import annotations

from pathlib import Path

import pytest

from ebcore.data import estimate
from ebcore.data.convert import convert
from ebcore.data.estimate import IMAGENET, beton_bytes, data_size, require_space
from ebcore.data.photos import write_photos
from ebcore.errors import InputError
from ebcore.params import PrepareParams


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos") / "images"
    write_photos(root, classes=2, train=12, val=4)
    return root


def test_photos_are_as_large_as_those_of_imagenet(photos: Path) -> None:
    size = data_size("x", photos)
    assert size is not None and (size.train, size.val) == (24, 8)
    mean = IMAGENET.files / IMAGENET.images  # 116 kB with the archives' padding
    assert size.files / size.images == pytest.approx(mean, rel=0.15)


@pytest.mark.parametrize(
    "changes",
    [{}, {"max_size": 300}, {"jpeg_fraction": 0.5}, {"jpeg_fraction": 0}],
)
def test_the_estimate_holds_what_is_written(
    photos: Path, tmp_path: Path, changes: dict[str, float]
) -> None:
    prepare = PrepareParams(**changes)  # type: ignore[arg-type]
    convert(photos, tmp_path / "out", prepare, "ffcv", name="x", progress=False)
    written = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    size = data_size("x", photos)
    assert size is not None
    assert written <= beton_bytes(size.images, size.files, prepare)


def test_by_hand() -> None:
    """1000 files of 100 kB, a page of 2 MiB: 2 %, half an image per page, 4 pages, 64 B a row."""
    content = 100_000_000
    unused = 1 + 100_000 / (2 << 21)
    expected = 1.02 * content * unused + 4 * (2 << 20) + 64 * 1000
    assert beton_bytes(1000, content, PrepareParams()) == pytest.approx(expected, abs=1)
    raw = beton_bytes(1000, content, PrepareParams(jpeg_fraction=0, max_size=400))
    unused = 1 + 3 * 400 * 300 / (2 << 21)
    expected = 1.02 * 1000 * 3 * 400 * 300 * unused + 4 * (2 << 20) + 64 * 1000
    assert raw == pytest.approx(expected, abs=1)


def test_what_is_known_without_the_files(tmp_path: Path) -> None:
    assert data_size("imagenet", tmp_path / "none") == IMAGENET
    assert data_size("mine", tmp_path / "none") is None


def test_refusal_names_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "free_bytes", lambda path: 2 * 10**9)
    require_space(tmp_path, 2 * 10**9, "a file")
    with pytest.raises(InputError, match=r"a file may take 3\.0 GB.*2\.0 GB free.*larger disk"):
        require_space(tmp_path / "out", 3 * 10**9, "a file")
