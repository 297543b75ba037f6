"""A folder with a few images and the profile's parameters, cut short, in which stages can run."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

import flows
from ebcore.data.convert import convert
from ebcore.data.folder import SPLITS, scan
from ebcore.data.photos import write_photos
from ebcore.data.progress import Phase
from ebcore.errors import InputError
from ebcore.params import Params, parse_params
from ebcore.processes import leave_with_parent
from ebcore.train.hosts import HOSTS
from ebcore.workspace import BETON, METRICS, PLOTS, TEACHER
from flows.dvc_process import INNER

EPOCHS = 2  # the first warms up, the second is measured
ROOT = Path(flows.__file__).parents[1]


@dataclass(frozen=True)
class Cut:
    """How much of the real run is done.

    Attributes:
        workers: training processes.
        batch_size: images over all of them.
        steps: of an epoch; a multiple of 10, after which the training log has an entry.
        classes, val: of the images; so many validation images a class.
        experts: the branches.
    """

    workers: int
    batch_size: int
    steps: int
    classes: int
    val: int
    experts: list[int]

    @property
    def per_class(self) -> int:
        """Training images of a class."""
        return -(-self.steps * self.batch_size // self.classes)


def default_cut(params: Params) -> Cut:
    """A GPU for each worker and the real share of the batch; on a CPU as little as tells a rate."""
    gpus = torch.cuda.device_count() if params.device != "cpu" else 0
    if gpus:
        workers = min(params.workers, gpus)
        batch = params.train("train_one").batch_size * workers // params.workers
        return Cut(workers, batch, 20, 12, 50, list(params.experts))  # ImageNet has 732 a class
    return Cut(1, 4, 10, 3, 4, [max(params.experts)])


def write_scratch(folder: Path, params: Params, cut: Cut) -> Params:
    """Images, of data.folder where it is there, and params.yaml; returns those parameters."""
    images, own = folder / "images", Path(params.data.folder)
    if own.is_dir():
        _link_some(own, images, cut)
    else:
        write_photos(images, classes=cut.classes, train=cut.per_class, val=cut.val)
    for name in (METRICS, PLOTS, TEACHER):
        (folder / name).mkdir(parents=True)
    content = cut_params(params, cut, images)
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return parse_params(content, folder / "params.yaml")


def cut_params(params: Params, cut: Cut, images: Path) -> dict[str, Any]:
    """The profile's parameters with fewer images, steps and repeats; EBConv's network stays."""
    content = params.model_dump(mode="json", exclude_unset=True)
    content |= {"experts": cut.experts, "workers": cut.workers}
    content["data"] |= {"folder": str(images), "fetch": []}
    content["hybrid"] |= {"seeds": []}  # EBConv's stages alone are tried
    content["ftbnn"] |= {"seeds": []}
    content["networks"] = []
    for stage in params.training_stages:
        content[stage] |= {
            "epochs": EPOCHS,
            "batch_size": cut.batch_size,
            "milestones": [],
            "warmup_epochs": 0,
        }
    content["benchmark"] = {**content.get("benchmark", {}), "repeats": 3, "min_seconds": 0.0}
    content["evaluate"] = {"batch_size": min(params.evaluate.batch_size, cut.classes * cut.val)}
    content["report"] = {"tsne_samples": 10}
    return content


def _link_some(source: Path, target: Path, cut: Cut) -> None:
    """Links to the first images of classes that are spread over all.

    Raises:
        InputError: they do not make the steps.
    """
    found = scan(source)
    step = max(1, len(found.classes) // cut.classes)
    labels = set(range(0, len(found.classes), step)[: cut.classes])
    for split, count in zip(SPLITS, (cut.per_class, cut.val), strict=True):
        taken = dict.fromkeys(labels, 0)
        for image in found.split(split):
            if image.label in labels and taken[image.label] < count:
                taken[image.label] += 1
                link = target / image.path
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to((source / image.path).resolve())
        if split == "train" and sum(taken.values()) < cut.steps * cut.batch_size:
            raise InputError(
                source,
                f"{len(labels)} of its classes hold {sum(taken.values())} training images, fewer "
                f"than {cut.steps} batches of {cut.batch_size}",
                "Use a smaller --batch-size or fewer --steps.",
            )


def prepare_images(folder: Path, params: Params) -> tuple[list[Phase], int]:
    """The stage prepare in `folder`: its rates, and the number of validation images.

    In a process of its own: one that has imported FFCV and forks then (as `run_stage` does) may
    wait for ever in numba's threads when it ends.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        1, context, initializer=leave_with_parent, initargs=(os.getpid(),)
    ) as pool:
        return pool.submit(_prepare, folder, params).result()


def _prepare(folder: Path, params: Params) -> tuple[list[Phase], int]:
    phases: list[Phase] = []
    data = params.data
    manifest = convert(
        data.folder,
        folder / BETON,
        params.prepare,
        data.loader,
        name=data.name,
        on_phase=phases.append,
    )
    return phases, manifest.splits["val"].count


def run_stage(folder: Path, name: str, item: int | str | None = None) -> float:
    """Runs a stage's own process in `folder`; its seconds.

    Raises:
        InputError: it failed; its output has been shown.
    """
    label = name if item is None else f"{name}@{item}"
    arguments = [] if item in (None, "real") else [str(item)]
    parent = os.getpid()
    tracker = f"sqlite:///{folder / 'mlflow.db'}"
    environment = {
        **os.environ,
        HOSTS: "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "MLFLOW_TRACKING_URI": tracker,
        "MLFLOW_REGISTRY_URI": tracker,
        "PREFECT_HOME": str(folder / ".prefect"),
        "DVC_STAGE": label,
        INNER: "1",
    }
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", f"flows.{name}", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: leave_with_parent(parent),
    )
    try:
        output, _ = process.communicate()
    except BaseException:  # stopped: the folder goes when nothing writes to it any more
        process.terminate()
        process.communicate()
        raise
    if process.returncode:
        print(output)
        raise InputError(label, f"failed (exit code {process.returncode})", "See its output above.")
    return time.monotonic() - start
