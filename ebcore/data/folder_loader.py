"""Plain folders: PIL decodes, torch's DataLoader spreads it over processes."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ebcore.data.augment import Ints, View
from ebcore.data.image import read_view
from ebcore.data.manifest import Manifest
from ebcore.errors import InputError


class _Files(Dataset[np.ndarray | InputError]):
    """The files of a split as one epoch sees them; items are uint8 [S, S, 3].

    Errors travel as items: DataLoader cannot carry one of ours out of a worker process.
    """

    def __init__(self, root: Path, files: list[str], view: View, epoch: int) -> None:
        self._root, self._files, self._view, self._epoch = root, files, view, epoch

    def __getitem__(self, index: int) -> np.ndarray | InputError:
        try:
            return read_view(self._root / self._files[index], self._view, self._epoch, index)
        except InputError as error:
            return error


class FolderSource:
    """See `ebcore.data.loader.Source`."""

    def __init__(
        self, root: Path, manifest: Manifest, split: str, view: View, *, processes: int
    ) -> None:
        files = manifest.splits[split].files
        assert files is not None, "prepared for folders"
        self._root, self._files, self._view = root, files, view
        self._processes = processes if processes > 1 else 0
        number = {name: label for label, name in enumerate(manifest.classes)}
        self.labels: Ints = np.array([number[path.split("/")[1]] for path in files], np.int64)

    def batches(self, epoch: int, batches: list[Ints]) -> Generator[torch.Tensor, None, None]:
        """See `ebcore.data.loader.Source`."""
        loader = DataLoader(
            _Files(self._root, self._files, self._view, epoch),
            batch_sampler=[indices.tolist() for indices in batches],
            num_workers=self._processes,
            collate_fn=_stack,
            # Else torch draws the workers' seed from the global generator, one draw an epoch.
            generator=torch.Generator().manual_seed(0),
        )
        for images in loader:
            if isinstance(images, InputError):
                raise images
            yield images

    def close(self) -> None:
        """Nothing is held between epochs."""


def _stack(images: list[np.ndarray | InputError]) -> torch.Tensor | InputError:
    for image in images:
        if isinstance(image, InputError):
            return image
    return torch.from_numpy(np.stack(images))  # type: ignore[arg-type]
