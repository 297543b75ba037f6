"""What preparing and training a data set takes of disk and memory, before either starts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ebcore.data.folder import SPLITS
from ebcore.errors import InputError
from ebcore.params import Params, PrepareParams

RAW_BYTES_PER_JPEG_BYTE = 6  # 3 bytes a pixel against half a byte, as in ImageNet's files
ASPECT = 3 / 4  # shorter to longer side of an ordinary photograph
ROW_BYTES = 64  # of FFCV's two tables, and of the journal while it writes, per image
SPARE = 1.02  # a file system's own
WORKER_BYTES = 4 << 30  # host memory of a training process: libraries, CUDA's context, batches
STATES = 3  # of a training: the two kept, and the one that is being written


@dataclass(frozen=True)
class DataSize:
    """Images and their files' bytes, and where these numbers come from."""

    train: int
    val: int
    files: int  # bytes
    source: str

    @property
    def images(self) -> int:
        return self.train + self.val


# The two archives of ILSVRC 2012; their files take no more.
IMAGENET = DataSize(
    1_281_167, 50_000, 147_897_477_120 + 6_744_924_160, "ImageNet-1k as it is distributed"
)


def data_size(name: str, folder: str | Path) -> DataSize | None:
    """The files below `folder`, counted; without them what is known of `name`, or None."""
    folder = Path(folder)
    if not folder.is_dir():
        return IMAGENET if name == "imagenet" else None
    counts = [_count(folder / split) for split in SPLITS]
    (train, train_bytes), (val, val_bytes) = counts
    return DataSize(train, val, train_bytes + val_bytes, f"counted in {folder}")


def file_bytes(path: str | Path) -> int:
    """A file's size; 0 for one that cannot be read, which preparation names."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _count(folder: Path) -> tuple[int, int]:
    count = total = 0
    for place, _, names in os.walk(folder, followlinks=True):
        for name in names:
            if not name.startswith("."):
                count += 1
                total += file_bytes(os.path.join(place, name))
    return count, total


def beton_bytes(images: int, files: int, prepare: PrepareParams) -> int:
    """About the most that .beton files take, of `images` whose files take `files` bytes.

    A JPEG keeps its bytes or shrinks; a raw image takes 3 bytes a pixel; a page is left when the
    next image does not fit, after half an image on average.
    """
    if not images:
        return 0
    raw = RAW_BYTES_PER_JPEG_BYTE * files
    if prepare.max_size is not None:
        raw = min(raw, int(images * 3 * ASPECT * prepare.max_size**2))
    content = prepare.jpeg_fraction * files + (1 - prepare.jpeg_fraction) * raw
    unused = 1 + content / images / (2 * prepare.page_size)
    pages = len(SPLITS) * 2 * prepare.page_size  # each split's header and last page
    return int(SPARE * content * unused) + pages + ROW_BYTES * images


def network_parameters(params: Params) -> int:
    """Of the network with the most experts, for 1000 classes; nothing is allocated."""
    import torch

    from ebcore.models import resnet

    with torch.device("meta"):
        model = resnet(**params.model.model_dump(exclude_none=True), experts=max(params.experts))
    return sum(parameter.numel() for parameter in model.parameters())


def state_bytes(params: Params, parameters: int) -> int:
    """Checkpoints of all stages, with DVC's copies, and the states of one training at a time.

    Args:
        parameters: of the network with the most experts.
    """
    network = 4 * parameters
    # replicate, train_experts, train_binary and the packed file of each branch; the shared steps
    kept = network * (4 * len(params.experts) + len(params.training_stages))
    # Adam keeps two numbers a parameter; a finished run leaves its network in .runs/.
    running = 3 * network * STATES
    left = network * (2 * len(params.experts) + len(params.training_stages))
    return 2 * kept + running + left


def memory_bytes(params: Params) -> int:
    """Host memory that training needs on one host, beside what the page cache may use."""
    return params.workers * WORKER_BYTES


def free_bytes(path: str | Path) -> int:
    """Free space for this user where `path` is or will be."""
    status = os.statvfs(nearest(path))
    return status.f_bavail * status.f_frsize


def nearest(path: str | Path) -> Path:
    """`path`, or the closest folder above it that exists."""
    path = Path(path).resolve()
    return next(place for place in (path, *path.parents) if place.exists())


def require_space(path: str | Path, needed: int, what: str) -> None:
    """Refuses what the disk of `path` cannot hold.

    Raises:
        InputError: with both numbers.
    """
    free = free_bytes(path)
    if needed > free:
        raise InputError(
            path,
            f"{what} may take {gigabytes(needed)}, but its disk has {gigabytes(free)} free",
            "Free space, work in a checkout on a larger disk (data.folder may stay where it is), "
            "or lower prepare.max_size.",
        )


def gigabytes(count: float) -> str:
    """Bytes as text: 1 GB is 1e9."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
