"""`make imagenet-dry`: profile imagenet's stages on a few images; prints what the real run takes.

Nothing of the checkout is touched. Images come from data.folder, or are made up on the spot.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from rich.table import Table

from ebcore.data.estimate import (
    DataSize,
    beton_bytes,
    data_size,
    gigabytes,
    network_parameters,
    state_bytes,
)
from ebcore.data.progress import duration
from ebcore.errors import InputError, exit_on_input_error
from ebcore.params import Params, load_params
from ebcore.processes import available_cores
from ebcore.tables import show
from ebcore.train.job import read_job
from ebcore.train.log import read_log
from flows.dry_run.scratch import Cut, default_cut, prepare_images, run_stage, write_scratch
from flows.dry_run.times import Estimate, Rates, evaluating, preparing, rates, training

PROFILE = Path("params/imagenet.yaml")
BRANCH = ("train_experts", "train_binary")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.dry_run", description=__doc__)
    parser.add_argument("--params", type=Path, default=PROFILE, help="the real run's parameters")
    parser.add_argument("--steps", type=int, help="training steps an epoch, a multiple of 10")
    parser.add_argument("--batch-size", type=int, help="images over all workers")
    arguments = parser.parse_args()
    start = time.monotonic()
    params = load_params(arguments.params)
    size = data_size(params.data.name, params.data.folder)
    if size is None:
        raise InputError(params.data.folder, "no such folder", "Bring the images, or name them.")
    cut = default_cut(params)
    if arguments.steps and arguments.steps % 10:
        raise InputError("--steps", f"{arguments.steps} is no multiple of 10", "Use 10 or 20.")
    cut = replace(
        cut,
        batch_size=arguments.batch_size or cut.batch_size,
        steps=arguments.steps or cut.steps,
    )
    with tempfile.TemporaryDirectory(prefix="ebcore-dry-") as name:
        estimates = measure(Path(name), params, cut, size)
    show(times_table(estimates, params, cut, size))
    for line in needs(params, size):
        print(line)
    print(f"This took {duration(time.monotonic() - start)}.")


def measure(folder: Path, params: Params, cut: Cut, size: DataSize) -> list[Estimate]:
    """Runs the stages in `folder`, in the pipeline's order; one estimate for each real stage."""
    small = write_scratch(folder, params, cut)
    phases, val = prepare_images(folder, small)
    seconds: dict[tuple[str, int | str | None], float] = {}

    def run(stage: str, item: int | str | None = None) -> None:
        print(f"{stage}{'' if item is None else f'@{item}'} ...", flush=True)
        seconds[stage, item] = run_stage(folder, stage, item)

    if "train_real" in small.training_stages:
        run("train_real", "real")
    run("train_one")
    for experts in cut.experts:
        for stage in ("replicate", *BRANCH, "pack", "evaluate", "benchmark"):
            run(stage, experts)
    run("report")
    found = found_rates(folder, cut, val)
    scale = params.workers / cut.workers if on_gpu(params) else 1.0
    start = seconds["replicate", cut.experts[0]]  # imports, and little else

    estimates = [preparing(phases, size, available_cores())]
    for stage in params.training_stages:
        if stage not in BRANCH:
            epochs = params.train(stage).epochs
            estimates.append(training(stage, epochs, size, found[stage, None], scale))
    for experts in params.experts:
        near = min(cut.experts, key=lambda count: abs(count - experts))
        estimates.append(_fixed("replicate", experts, seconds["replicate", near]))
        for stage in BRANCH:
            epochs = params.train(stage).epochs
            label = f"{stage}@{experts}"
            estimates.append(training(label, epochs, size, found[stage, near], scale))
        estimates.append(_fixed("pack", experts, seconds["pack", near]))
        estimates.append(
            evaluating(f"evaluate@{experts}", seconds["evaluate", near], start, val, size)
        )
        times = seconds["benchmark", near] * params.benchmark.repeats / small.benchmark.repeats
        estimates.append(Estimate(f"benchmark@{experts}", 0, None, times, at_most=True))
    estimates.append(Estimate("report", 0, None, seconds["report", None]))
    return estimates


def _fixed(stage: str, experts: int, seconds: float) -> Estimate:
    return Estimate(f"{stage}@{experts}", 0, None, seconds)


def on_gpu(params: Params) -> bool:
    """Whether training would use GPUs here."""
    import torch

    return params.device != "cpu" and torch.cuda.is_available()


def found_rates(folder: Path, cut: Cut, val: int) -> dict[tuple[str, int | None], Rates]:
    """Of each training that ran in `folder`; the shared ones under None."""
    found: dict[tuple[str, int | None], Rates] = {}
    for file in folder.glob(".runs/*/job.json"):
        job = read_job(file)
        experts = int(job.training.item) if job.stage in BRANCH else None
        found[job.stage, experts] = rates(read_log(file.parent), cut.batch_size, val)
    return found


def times_table(estimates: list[Estimate], params: Params, cut: Cut, size: DataSize) -> Table:
    """A row per stage of the real run, and their sum."""
    total = sum(estimate.seconds for estimate in estimates)
    where = f"{cut.workers} GPU(s)" if on_gpu(params) else f"{available_cores()} CPU core(s)"
    others = [str(count) for count in params.experts if count not in cut.experts]
    near = f" {' and '.join(others)} experts as {cut.experts[-1]}, which ran." if others else ""
    table = Table(
        title=f"Profile {params.profile}: {size.train:,} + {size.val:,} images ({size.source})",
        caption=f"Measured on {where}, batch {cut.batch_size}, {cut.steps} steps; images/s and "
        f"times are those of {params.workers if on_gpu(params) else cut.workers} worker(s). "
        f"One stage after another; branches side by side take less.{near}",
        show_footer=True,
    )
    table.add_column("stage", "sum")
    table.add_column("images/s", justify="right")
    table.add_column("images of the real run", justify="right")
    table.add_column("estimated time", duration(total), justify="right")
    for estimate in estimates:
        table.add_row(
            estimate.stage,
            "" if estimate.per_second is None else f"{estimate.per_second:,.2f}",
            f"{estimate.images:,}" if estimate.images else "",
            ("at most " if estimate.at_most else "") + duration(estimate.seconds),
        )
    return table


def needs(params: Params, size: DataSize) -> list[str]:
    """Disk and memory of the real run, in words."""
    beton = gigabytes(beton_bytes(size.images, size.files, params.prepare))
    states = gigabytes(state_bytes(params, network_parameters(params)))
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    lines = [
        f"Disk: images {gigabytes(size.files)}; .beton about {beton}, once more in .dvc/cache "
        f"unless DVC links; checkpoints and states about {states}.",
        f"Memory: {params.workers} training processes; the largest process here took "
        f"{gigabytes(largest)}. The page cache holds the .beton if {beton} more are free.",
    ]
    if not on_gpu(params):
        lines.append("This is a CPU: a real run needs GPUs. The same command tells their time.")
    return lines


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with exit_on_input_error():
        main()
