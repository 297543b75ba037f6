from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from ebcore.data import ffcv_loader
from ebcore.data.augment import View, permutation
from ebcore.data.convert import convert
from ebcore.data.image import load_image
from ebcore.data.loader import Batch, SplitLoader, open_split
from ebcore.data.manifest import load_manifest
from ebcore.errors import InputError
from ebcore.params import DataParams, PrepareParams
from tests.data.conftest import write_images

pytestmark = pytest.mark.timeout(60)  # a loader that waits for ever is a failure here
Make = Callable[..., DataParams]
LOADERS: tuple[Literal["ffcv", "folder"], ...] = ("ffcv", "folder")
RESIZED: dict[str, Any] = {"image_size": 24, "resize": 28, "crop": "resized", "flip": True}
PAD: dict[str, Any] = {"image_size": 24, "resize": 28, "crop": "pad", "pad": 2, "flip": True}


@pytest.fixture(scope="session")
def prepared(varied: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ffcv/ and folder/, both of the images of `varied`."""
    root = tmp_path_factory.mktemp("prepared")
    for loader in LOADERS:
        prepare = PrepareParams(jpeg_fraction=0.5)
        convert(varied, root / loader, prepare, loader, name="x", progress=False)
    return root


@contextmanager
def _open(prepared: Path, data: DataParams, split: Any = "train", **changes: Any) -> Iterator[Any]:
    options = {"batch_size": 4, "seed": 1, **changes}
    loader = open_split(prepared / data.loader, split, data, **options)
    try:
        yield loader
    finally:
        loader.close()


def _hashes(batches: Iterator[Batch]) -> list[str]:
    return [
        hashlib.sha256(b"".join(part.numpy().tobytes() for part in batch)).hexdigest()
        for batch in batches
    ]


def _epoch(loader: SplitLoader, epoch: int = 0, start: int = 0) -> list[Batch]:
    return list(loader.epoch(epoch, start))


@pytest.mark.parametrize("view", [RESIZED, PAD], ids=["resized", "pad"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_both_loaders_show_the_same(
    prepared: Path, varied: Path, data: Make, view: dict[str, Any], split: str
) -> None:
    epochs = []
    for loader in LOADERS:
        with _open(prepared, data(varied, loader=loader, **view), split) as opened:
            assert opened.classes == ["ant", "bee", "cat"]
            epochs.append(_epoch(opened, 3))
            assert len(epochs[-1]) == opened.batches_per_epoch
    for one, other in zip(*epochs, strict=True):
        assert torch.equal(one.indices, other.indices)
        assert torch.equal(one.labels, other.labels)
        assert one.images.shape == other.images.shape == (4, 3, 24, 24)
        assert one.images.dtype == torch.float32
        # Same crops and flips; the decoders and the interpolation differ a little.
        assert (one.images - other.images).abs().mean() < 0.05
        wrong = other.images.flip(3)
        assert (one.images - wrong).abs().mean() > 0.2


def test_labels_are_those_of_the_files(prepared: Path, varied: Path, data: Make) -> None:
    files = load_manifest(prepared / "folder").splits["train"].files
    assert files is not None
    for loader in LOADERS:
        with _open(prepared, data(varied, loader=loader, **RESIZED)) as opened:
            for batch in opened.epoch(0):
                for index, label in zip(batch.indices, batch.labels, strict=True):
                    assert files[int(index)].split("/")[1] == opened.classes[int(label)]


def test_ffcv_decoder_uses_the_boxes_of_the_view(
    prepared: Path, varied: Path, data: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def corner(self: View, epoch: int, indices: Any, heights: Any, widths: Any) -> Any:
        return np.tile([0, 0, 24, 24], (len(indices), 1))

    monkeypatch.setattr(View, "boxes", corner)
    images = []
    for loader in LOADERS:
        with _open(prepared, data(varied, loader=loader, **{**RESIZED, "flip": False})) as opened:
            images.append(torch.cat([batch.images for batch in opened.epoch(0)]))
    assert (images[0] - images[1]).abs().mean() < 0.03  # a crop without interpolation


@pytest.mark.parametrize("view", [RESIZED, {}], ids=["boxes", "whole"])
def test_ffcv_decodes_alike_compiled_and_interpreted(
    tmp_path: Path, data: Make, monkeypatch: pytest.MonkeyPatch, view: dict[str, Any]
) -> None:
    images = write_images(tmp_path / "images", sizes=(40, 90) if view else (16, 16))
    prepare = PrepareParams(jpeg_fraction=0.5)
    convert(images, tmp_path / "ffcv", prepare, "ffcv", name="x", progress=False)
    seen = []
    for few in (0, 2000):
        monkeypatch.setattr(ffcv_loader, "FEW", few)
        with _open(tmp_path, data(images, **view)) as opened:
            seen.append(_hashes(opened.epoch(0)))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("world", [1, 3])
def test_validation_counts_every_image_once(
    prepared: Path, varied: Path, data: Make, loader: str, world: int
) -> None:
    seen = []
    for rank in range(world):
        params = data(varied, loader=loader, **RESIZED)
        with _open(prepared, params, "val", rank=rank, world=world) as opened:
            own = torch.cat([batch.indices for batch in opened.epoch(0)])
            assert own.tolist() == list(range(rank, 12, world))
            assert len(_epoch(opened)) == opened.batches_per_epoch
            seen += own.tolist()
    assert sorted(seen) == list(range(12))


@pytest.mark.parametrize("loader", LOADERS)
def test_two_ranks_share_the_global_batch_of_one(
    prepared: Path, varied: Path, data: Make, loader: str
) -> None:
    params = data(varied, loader=loader, **RESIZED)
    with _open(prepared, params, batch_size=8) as alone:
        whole = _epoch(alone, 2)
    parts = []
    for rank in range(2):
        with _open(prepared, params, rank=rank, world=2) as opened:
            parts.append(_epoch(opened, 2))
    assert len(whole) == 27 // 8
    for batch, first, second in zip(whole, *parts, strict=True):
        for field in range(3):
            assert torch.equal(batch[field], torch.cat([first[field], second[field]]))
    order = torch.cat([batch.indices for batch in whole]).tolist()
    assert order == permutation(1, 2, 27)[:24].tolist()


@pytest.mark.parametrize("loader", LOADERS)
def test_a_restart_in_mid_epoch_continues_it(
    prepared: Path, varied: Path, data: Make, loader: str
) -> None:
    params = data(varied, loader=loader, **PAD)
    with _open(prepared, params) as opened:
        whole = _hashes(opened.epoch(4))
        assert len(whole) == 6
        broken = opened.epoch(4)
        assert _hashes(next(broken) for _ in range(2)) == whole[:2]
        broken.close()
    with _open(prepared, params) as opened:
        for start in (0, 2, 5, 6):
            assert _hashes(opened.epoch(4, start)) == whole[start:]


@pytest.mark.parametrize("loader", LOADERS)
def test_batches_depend_on_seed_and_epoch_alone(
    prepared: Path, varied: Path, data: Make, loader: str
) -> None:
    params = data(varied, loader=loader, **RESIZED)
    with _open(prepared, params) as opened:
        first, other_epoch = _hashes(opened.epoch(0)), _hashes(opened.epoch(1))
        np.random.seed(5)
        torch.manual_seed(5)
        assert _hashes(opened.epoch(0)) == first
    with _open(prepared, params, threads=2) as opened:
        assert _hashes(opened.epoch(0)) == first
    with _open(prepared, params, seed=2) as opened:
        assert not set(first) & set(_hashes(opened.epoch(0)))
    assert not set(first) & set(other_epoch)


@pytest.mark.parametrize("loader", LOADERS)
def test_global_generators_and_threads_are_left_alone(
    prepared: Path, varied: Path, data: Make, loader: str
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
        with _open(prepared, data(varied, loader=loader, **RESIZED), threads=2) as opened:
            _epoch(opened)
        assert torch.get_num_threads() == 3
        assert torch.equal(torch_state, torch.get_rng_state())
        assert np.array_equal(numpy_state, np.random.get_state()[1])
    finally:
        torch.set_num_threads(threads)


def test_an_error_in_ffcvs_thread_reaches_the_consumer(
    prepared: Path, varied: Path, data: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _open(prepared, data(varied, **RESIZED)) as opened:
        calls = 0
        real = View.boxes

        def fail(self: View, *args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise ArithmeticError("deliberate")
            return real(self, *args)

        monkeypatch.setattr(View, "boxes", fail)
        batches = opened.epoch(0)
        next(batches), next(batches)
        with pytest.raises(RuntimeError, match="FFCV loader failed: deliberate"):
            next(batches)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_unreadable_file_reaches_the_consumer(
    small: Path, tmp_path: Path, data: Make, threads: int
) -> None:
    convert(small, tmp_path / "folder", PrepareParams(), "folder", name="x", progress=False)
    (small / "val" / "bee" / "2.JPEG").write_bytes(b"altered since")
    with (
        _open(tmp_path, data(small, loader="folder"), "val", threads=threads) as opened,
        pytest.raises(InputError, match=r"bee/2\.JPEG: cannot be read"),
    ):
        _epoch(opened)


def test_predict_sees_what_validation_sees(prepared: Path, varied: Path, data: Make) -> None:
    params, manifest = data(varied, loader="folder", **RESIZED), load_manifest(prepared / "folder")
    files = manifest.splits["val"].files
    assert files is not None
    with _open(prepared, params, "val", batch_size=12) as opened:
        (batch,) = _epoch(opened)
    for image, file in zip(batch.images, files, strict=True):
        alone = load_image(varied / file, params, manifest.mean, manifest.std)
        assert torch.equal(alone[0], image)


def test_a_network_from_elsewhere_brings_its_own_normalisation(
    prepared: Path, varied: Path, data: Make
) -> None:
    manifest, params = load_manifest(prepared / "folder"), data(varied, loader="folder", **RESIZED)
    batches = []
    for normalisation in (None, ([0.25] * 3, [0.5] * 3)):
        with _open(prepared, params, "val", normalisation=normalisation) as loader:
            batches.append(next(loader.epoch(0)).images)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (manifest.mean, manifest.std))
    torch.testing.assert_close(batches[1], (batches[0] * std + mean - 0.25) / 0.5)


def test_parameters_may_give_mean_and_std(prepared: Path, varied: Path, data: Make) -> None:
    manifest = load_manifest(prepared / "folder")
    batches = []
    for given in ({}, {"mean": (0.1, 0.2, 0.3)}, {"std": (0.9, 0.8, 0.7)}):
        params = data(varied, loader="folder", **RESIZED, **given)
        with _open(prepared, params, "val") as loader:
            batches.append(next(loader.epoch(0)).images)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (manifest.mean, manifest.std))
    pixels = batches[0] * std + mean
    other_mean, other_std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.9, 0.8, 0.7])
    torch.testing.assert_close(batches[1], (pixels - other_mean.view(3, 1, 1)) / std)
    torch.testing.assert_close(batches[2], (pixels - mean) / other_std.view(3, 1, 1))


@pytest.mark.parametrize("loader", LOADERS)
def test_images_of_another_size_need_a_resize(
    prepared: Path, varied: Path, data: Make, loader: str
) -> None:
    with pytest.raises(InputError, match=r"data\.image_size is 16.*Set data\.resize.*resized"):
        open_split(prepared / loader, "train", data(varied, loader=loader), batch_size=4, seed=0)


def test_other_refusals(
    prepared: Path, varied: Path, data: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = data(varied, **RESIZED)
    with pytest.raises(InputError, match=r"batch_size: 56 images .* only 27"):
        open_split(prepared / "ffcv", "train", params, batch_size=28, seed=0, world=2)
    with pytest.raises(InputError, match="prepared for loader 'folder', not 'ffcv'"):
        open_split(prepared / "folder", "train", params, batch_size=4, seed=0)


def test_without_ffcv_the_error_names_the_other_loader() -> None:
    code = (
        "import sys; sys.modules['ffcv'] = None\n"
        "from ebcore.data.ffcv_compat import import_ffcv\n"
        "from ebcore.errors import exit_on_input_error\n"
        "with exit_on_input_error(): import_ffcv()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "data.loader: folder" in done.stderr.splitlines()[-1]
