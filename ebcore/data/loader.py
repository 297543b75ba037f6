"""Batches of a prepared data set, through FFCV or plain folders, behind one interface.

Legend: B images per rank and batch, W ranks, S px side of the network's input.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch

from ebcore.data.augment import Ints, View, permutation
from ebcore.data.image import normalise
from ebcore.data.manifest import REMEDY, Manifest, load_manifest
from ebcore.errors import InputError
from ebcore.params import DataParams

Normalisation = tuple[Sequence[float], Sequence[float]]  # mean and std of R, G, B, 0..1


class Batch(NamedTuple):
    """images float32 [B, 3, S, S] normalised; labels and sample indices int64 [B]."""

    images: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor


class Source(Protocol):
    """Where pixels come from."""

    labels: Ints  # [number of samples]

    def batches(self, epoch: int, batches: list[Ints]) -> Generator[torch.Tensor, None, None]:
        """For each array of sample indices, what the view shows of them: uint8 [B, S, S, 3].

        A tensor is valid until the next is asked for; who gets it may change it.
        """
        ...

    def close(self) -> None:
        """Frees what the source holds."""
        ...


class SplitLoader:
    """The batches that one rank sees of a split. Keep it: opening one may compile code."""

    def __init__(
        self,
        source: Source,
        view: View,
        manifest: Manifest,
        *,
        batch_size: int,
        rank: int,
        world: int,
        device: torch.device,
        normalisation: Normalisation,
    ) -> None:
        self.num_samples = len(source.labels)  # over all ranks
        self.classes = manifest.classes
        self._source, self._view, self._normalisation = source, view, normalisation
        self._batch_size, self._rank, self._world = batch_size, rank, world
        self._device = device

    @property
    def batches_per_epoch(self) -> int:
        """Of this rank; in training the same for all."""
        if self._view.train:
            return self.num_samples // (self._batch_size * self._world)
        own = len(range(self._rank, self.num_samples, self._world))
        return -(-own // self._batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches from number `start` on.

        Training: a permutation by (seed, epoch); global batch b holds its samples from b*W*B on,
        of which rank r takes the r-th B; a last partial global batch is dropped. Validation:
        rank r takes every W-th sample from r on, none twice, the last batch may be smaller.

        Raises:
            InputError: a file that cannot be read any more.
        """
        indices = self._index_batches(epoch)[start:]
        with closing(self._source.batches(epoch, indices)) as pixels:
            for own in indices:
                seen = self._view.mirror(self._to_device(next(pixels)), epoch, own)
                yield Batch(
                    self._view.move(normalise(seen, *self._normalisation), epoch, own),
                    self._to_device(torch.from_numpy(self._source.labels[own])),
                    torch.from_numpy(own),
                )

    def close(self) -> None:
        """Frees buffers, threads and files."""
        self._source.close()

    def _index_batches(self, epoch: int) -> list[Ints]:
        size, world, rank = self._batch_size, self._world, self._rank
        if not self._view.train:
            own = np.arange(rank, self.num_samples, world)
            return [own[at : at + size] for at in range(0, len(own), size)]
        order = permutation(self._view.seed, epoch, self.num_samples)
        whole = self.batches_per_epoch
        return list(order[: whole * world * size].reshape(whole, world, size)[:, rank])

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        if self._device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)


def normalisation_of(manifest: Manifest, data: DataParams) -> Normalisation:
    """Mean and std that images are normalised with: the parameters', else the training images'."""
    return data.mean or manifest.mean, data.std or manifest.std


def open_split(
    directory: str | Path,
    split: Literal["train", "val"],
    data: DataParams,
    *,
    batch_size: int,
    seed: int,
    rank: int = 0,
    world: int = 1,
    device: torch.device | str = "cpu",
    threads: int = 1,
    normalisation: Normalisation | None = None,
) -> SplitLoader:
    """Opens one split of what `ebcore.data.convert.convert` wrote to `directory`.

    Args:
        batch_size: per rank.
        threads: that decode images (FFCV), or processes (folder; 1 decodes in this one).
        normalisation: mean and std that a network was trained with elsewhere; default the
            parameters' or the data's (`normalisation_of`).

    Raises:
        InputError: not prepared, prepared for the other loader, truncated or altered files,
            fewer images than a batch, or images of a size that `data` does not provide for.
    """
    directory = Path(directory)
    manifest = load_manifest(directory)
    if manifest.loader != data.loader:
        raise InputError(
            directory,
            f"was prepared for loader {manifest.loader!r}, not {data.loader!r}",
            "Run `dvc repro prepare`, or change data.loader.",
        )
    view = View(data, seed, train=split == "train")
    _require_fitting(directory, manifest, split, view, batch_size * world)
    manifest.verify_split(directory, split)
    source: Source
    if data.loader == "ffcv":
        from ebcore.data.ffcv_loader import FfcvSource

        stored = manifest.splits[split]
        assert stored.file is not None
        source = FfcvSource(
            directory / stored.file,
            view,
            count=stored.count,
            batch_size=batch_size,
            threads=threads,
        )
    else:
        from ebcore.data.folder_loader import FolderSource

        source = FolderSource(Path(data.folder), manifest, split, view, processes=threads)
    return SplitLoader(
        source,
        view,
        manifest,
        batch_size=batch_size,
        rank=rank,
        world=world,
        device=torch.device(device),
        normalisation=normalisation or normalisation_of(manifest, data),
    )


def _require_fitting(
    directory: Path, manifest: Manifest, name: str, view: View, global_batch: int
) -> None:
    split = manifest.splits.get(name)
    if split is None:
        raise InputError(directory, f"holds no split {name!r}", REMEDY)
    if view.train and split.count < global_batch:
        raise InputError(
            "batch_size",
            f"{global_batch} images over all workers, but there are only {split.count}",
            "Lower batch_size or add images.",
        )
    size = view.data.image_size
    if view.whole and (split.height != (size, size) or split.width != (size, size)):
        (low_h, high_h), (low_w, high_w) = split.height, split.width
        raise InputError(
            f"{directory} ({name})",
            f"images are {low_w}x{low_h} to {high_w}x{high_h} px where data.image_size is {size}",
            "Set data.resize, or data.image_size to the images' own size"
            + ("; or data.crop: resized." if view.train else "."),
        )
