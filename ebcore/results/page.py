"""results/RUN/ -> docs/results.md and its figures (`make results`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator

from ebcore.errors import InputError, exit_on_input_error
from ebcore.files import atomic_write
from ebcore.methods.ebconv import STEPS
from ebcore.methods.hybrid import VERSION_TITLES
from ebcore.params import Params, load_params
from ebcore.report.files import Row, read_rows
from ebcore.report.networks import variant_title
from ebcore.report.page import render_page
from ebcore.report.spread import spread
from ebcore.report.style import colours, figure_style, inline_svg, standalone
from ebcore.results import files

_STEPS = {stage: f"step {step.number}" for stage, step in STEPS.items() if step.number}


@dataclass(frozen=True)
class Run:
    """A kept run.

    Attributes:
        name: of its folder.
        params: as it ran.
        trainings, curves, networks, usage: the rows of its tables.
        partition: those of the hybrid method's; none if it did not run.
        note: what else there is to say of it.
    """

    name: str
    params: Params
    trainings: list[Row]
    curves: list[Row]
    networks: list[Row]
    usage: list[Row]
    partition: list[Row]
    note: str

    def last(self, stage: str, item: str, column: str) -> float:
        """A column of a training's last epoch."""
        found = [r for r in self.trainings if (r["stage"], r["item"]) == (stage, item)]
        return float(found[0][column])


def read_runs(folder: Path = files.RESULTS) -> list[Run]:
    """All kept runs, by name.

    Raises:
        InputError: there is none, or one lacks a file.
    """
    runs = [_read_run(path.parent) for path in sorted(folder.glob(f"*/{files.PARAMS}"))]
    if not runs:
        raise InputError(folder, "keeps no run", "Run `make keep` after `make repro`.")
    return runs


def results_page(runs: Sequence[Run], literature: Sequence[Row]) -> str:
    """The whole of docs/results.md."""
    profiles: dict[str, list[Run]] = {}
    for run in runs:
        profiles.setdefault(run.params.profile, []).append(run)
    return render_page(
        "results.md",
        package="ebcore.results",
        html=False,
        profiles=[_profile(name, group) for name, group in profiles.items()],
        literature=literature,
    )


def curves_figure(run: Run) -> str:
    """Validation accuracy by epoch of every EBConv training, the steps one after the other."""
    counts = list(map(str, run.params.experts))
    with figure_style(run.name):
        figure, axes = pyplot.subplots(figsize=(6.4, 3.2), layout="constrained")
        axes.plot(*_curve(run, "train_one", "", 0), color="#7f7f7f", label="step 1, shared")
        first = run.params.train_one.epochs
        for colour, count in zip(colours(len(counts)), counts, strict=True):
            then = first + run.params.train_experts.epochs
            axes.plot(*_curve(run, "train_experts", count, first), "--", color=colour)
            curve = _curve(run, "train_binary", count, then)
            axes.plot(*curve, color=colour, label=f"N = {count}")
        for edge in (first, first + run.params.train_experts.epochs):
            axes.axvline(edge + 0.5, color="#7f7f7f", linewidth=0.8, linestyle=":")
        axes.set_xlabel("epoch; dashed: step 3, then step 4 (binary weights)")
        axes.set_ylabel("validation top-1, %")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
        axes.legend(fontsize=8)
        return standalone(inline_svg(figure, f"{run.name}: validation top-1 by epoch"))


def main() -> None:
    with exit_on_input_error():
        runs = read_runs()
        for run in runs:
            with atomic_write(_figure_file(run)) as file:
                file.write(curves_figure(run))
        with atomic_write(files.PAGE) as file:
            file.write(results_page(runs, read_rows(files.LITERATURE)))
        print(f"{files.PAGE}: {len(runs)} runs")


def _read_run(folder: Path) -> Run:
    tables = []
    for name in (files.TRAININGS, files.CURVES, files.NETWORKS, files.USAGE):
        if not (folder / name).is_file():
            raise InputError(folder / name, "does not exist", "Keep the run again: `make keep`.")
        tables.append(read_rows(folder / name))
    note = folder / files.NOTE
    said = note.read_text(encoding="utf-8").strip() if note.is_file() else ""
    trainings, curves, networks, usage = tables
    partition = read_rows(folder / files.PARTITION) if (folder / files.PARTITION).is_file() else []
    params = load_params(folder / files.PARAMS)
    return Run(folder.name, params, trainings, curves, networks, usage, partition, said)


def _curve(run: Run, stage: str, item: str, before: int) -> tuple[list[int], list[float]]:
    rows = [row for row in run.curves if (row["stage"], row["item"]) == (stage, item)]
    return (
        [before + int(float(row["epoch"])) for row in rows],
        [float(row["val_top1"]) for row in rows],
    )


def _figure_file(run: Run) -> Path:
    return files.PAGE.with_name(f"results-{run.name}.svg")


def _profile(name: str, runs: list[Run]) -> dict[str, Any]:
    """What the page says of a profile's runs, which differ in the seed."""
    first = runs[0]
    params = first.params
    seeds = [run.params.seed for run in runs]
    return {
        "name": name,
        "runs": runs,
        "seeds": seeds,
        "params": params,
        "model": params.model.model_dump(exclude_none=True),
        "machine": first.trainings[0],
        "images_validated": first.networks[0]["images"],
        "figures": [_figure_file(run).name for run in runs],
        "by_experts": [_by_experts(runs, count) for count in params.experts],
        "gain": _gain(runs),
        "usage": _usage(first),
        "networks": first.networks,
        "real_inputs": _real_inputs(first),
        "versions": VERSION_TITLES,
        "variants": _variants(params),
        "trainings": [{**row, "run": run.name} for run in runs for row in run.trainings],
        "hours": sum(float(row["seconds"]) for row in first.trainings) / 3600,
    }


def _by_experts(runs: list[Run], count: int) -> dict[str, Any]:
    """A row of the table by expert count: means over the seeds."""
    item = str(count)
    steps = {
        title: spread(
            [run.last(stage, "" if stage == "train_one" else item, "top1") for run in runs]
        )
        for stage, title in _STEPS.items()
    }
    rows = [row for run in runs for row in run.networks if row["experts"] == item]
    network = rows[0]
    return {
        "experts": count,
        "steps": steps,
        "packed": spread([float(row["packed_top1"]) for row in rows]),
        "bops": float(network["bops"]),
        "flops": float(network["flops"]),
        "file_bytes": float(network["file_bytes"]),
        "packed_ms": float(network["packed_ms"]),
        "fp32_ms": float(network["fp32_ms"]) if network["fp32_ms"] else None,
        "fp32_by": network["fp32_by"],
    }


def _gain(runs: list[Run]) -> dict[str, Any] | None:
    """Points of top-1 that most experts win over one, seed by seed; None without both."""
    counts = runs[0].params.experts
    if 1 not in counts or len(counts) < 2:
        return None
    most, stage = str(max(counts)), "train_binary"
    gains = [run.last(stage, most, "top1") - run.last(stage, "1", "top1") for run in runs]
    losses = {
        count: spread([run.last(stage, count, "train_loss") for run in runs])
        for count in ("1", most)
    }
    return {"experts": most, "gains": gains, "spread": spread(gains), "losses": losses}


def _usage(run: Run) -> list[dict[str, Any]]:
    """By network and layer: the experts' shares of the validation images, percent."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in run.usage:
        found.setdefault((row["network"], row["layer"]), []).append(100 * float(row["share"]))
    return [
        {"experts": network, "layer": layer, "shares": shares}
        for (network, layer), shares in found.items()
        if len(shares) > 1
    ]


def _real_inputs(run: Run) -> dict[str, dict[str, Any]]:
    """By seed: the layers whose inputs the hybrid method left real, and the last of all layers."""
    found: dict[str, dict[str, Any]] = {}
    for row in run.partition:
        choice = found.setdefault(row["seed"], {"real": [], "last": row["layer"]})
        choice["last"] = row["layer"]
        if float(row["real_input"]):
            choice["real"].append(row["layer"])
    return found


def _variants(params: Params) -> dict[str, str]:
    """FTBNN's compared variants and what each changes; none if the method did not run."""
    compared = params.ftbnn.compared if params.ftbnn.seeds else []
    return {name: variant_title(params, name) for name in compared}


if __name__ == "__main__":
    main()
