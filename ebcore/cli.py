"""The command `ebcore`. Commands import what they need when they run, so that --help is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import ebcore
from ebcore.errors import exit_on_input_error

app = typer.Typer(
    help="Expert binary networks: look into them, pack them, run them.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
profile_app = typer.Typer(
    help="Parameter sets of the pipeline: params/NAME.yaml.", no_args_is_help=True
)
app.add_typer(profile_app, name="profile")

Threads = Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")]


def main() -> None:
    """Entry point: bad input ends as one line on stderr and exit code 2."""
    with exit_on_input_error():
        app()


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ebcore {ebcore.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def summary(
    source: Annotated[
        str,
        typer.Argument(
            help="A structure such as 1262-2-4:8:8:16, a name such as bi-real-18 or sketchanet, a "
            "checkpoint, or a packed file (.ebp)."
        ),
    ],
    experts: Annotated[
        int | None, typer.Option(min=1, help="Experts N of each binary layer; default 4.")
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(min=4, help="Input side in px; default 224, or the checkpoint's."),
    ] = None,
    classes: Annotated[int, typer.Option(min=1, help="Number of classes.")] = 1000,
    stem: Annotated[
        str | None, typer.Option(help="efficient (default), basic, small or half.")
    ] = None,
    width: Annotated[int, typer.Option(min=1, help="Channels of stage 0 before E.")] = 64,
    stem_width: Annotated[int, typer.Option(min=1, help="Channels after the stem.")] = 64,
    shortcut: Annotated[
        str | None,
        typer.Option(help="plain, binary, grouped, concat, linear, relu or prelu (default)."),
    ] = None,
    pointwise: Annotated[
        bool | None,
        typer.Option("--pointwise/--no-pointwise", help="Binary 1x1 in each block; default yes."),
    ] = None,
    se: Annotated[
        bool | None, typer.Option("--se/--no-se", help="Data-driven output scale; default no.")
    ] = None,
    version: Annotated[
        str, typer.Option(help="Of Hybrid Binary Networks' networks: fprec, wbin or fbin.")
    ] = "fbin",
) -> None:
    """Operations and parameters of each layer and in total.

    For a checkpoint the structure comes from the file, and the options about it are not used; a
    name has its own defaults. For a packed file: its nodes, their weights and the file's size.
    """
    if Path(source).suffix == ".ebp":
        _packed_summary(Path(source))
        return
    from ebcore.measure import count_ops
    from ebcore.models import load_model, resnet
    from ebcore.models.architectures import HYBRID, build
    from ebcore.tables import operations_table, show

    if Path(source).suffix == ".safetensors" or Path(source).exists():
        model = load_model(source)
        size = image_size or int(model.metadata["image_size"])
    elif source in HYBRID:
        model = build({"architecture": source, "version": version, "num_classes": classes})
        size = image_size or int(model.config.get("image_size", 224))
    else:
        model = resnet(
            source,
            experts=experts,
            num_classes=classes,
            stem=stem,
            width=width,
            stem_width=stem_width,
            shortcut=shortcut,
            pointwise=pointwise,
            se=se,
        )
        size = image_size or 224
    count = count_ops(model, (model.config["in_channels"], size, size))
    show(operations_table(count, f"{model.title}, {size} x {size} px"))


def _packed_summary(file: Path) -> None:
    from ebcore.packed import load
    from ebcore.tables import packed_table, show

    show(packed_table(load(file), file.name))


@app.command()
def pack(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of train_binary.")],
    out: Annotated[Path, typer.Argument(help="The packed file to write (.ebp).")],
    image_size: Annotated[
        int | None, typer.Option(min=4, help="Input side in px; default the checkpoint's.")
    ] = None,
) -> None:
    """Pack a trained binary network into bits."""
    from ebcore.models import load_model
    from ebcore.packed import pack as pack_model

    model = load_model(checkpoint)
    size = image_size or int(model.metadata["image_size"])
    pack_model(model, (model.config["in_channels"], size, size)).save(out)
    typer.echo(f"{out}: {out.stat().st_size:,} bytes")


@app.command("import-official")
def import_official(
    source: Annotated[Path, typer.Argument(help="The authors' checkpoint (.pth.tar).")],
    out: Annotated[Path, typer.Argument(help="The checkpoint to write (.safetensors).")],
    classes: Annotated[
        Path | None,
        typer.Option(help="Text file, a class name per line; default their numbers."),
    ] = None,
) -> None:
    """Make a checkpoint of EBConv's authors one that pack, predict and summary take."""
    from ebcore.models.official import import_official as import_model
    from ebcore.models.official import zero_weights

    model = import_model(source, out, classes)
    config = model.config
    typer.echo(
        f"{out}: {config['spec']}, {config['experts']} experts, {config['num_classes']} classes"
    )
    if zeros := zero_weights(model):
        typer.echo(f"{zeros} latent weights are exactly 0: sign 0 in the authors' code, +1 here.")


@app.command("import-sketches")
def import_sketches(
    name: Annotated[str, typer.Argument(help="tu-berlin or sketchy.")],
    source: Annotated[Path, typer.Argument(help="The unpacked archive.")],
    out: Annotated[Path, typer.Argument(help="The folder to write, for data.folder.")],
    val_share: Annotated[
        float, typer.Option(help="Share of each class for validation; default a third.")
    ] = 1 / 3,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
) -> None:
    """Make a folder of sketches one that the pipeline reads: grey, inverted, 256 px, split."""
    from ebcore.data.sketch_folders import import_sketches as import_set

    counts = import_set(name, source, out, val_share=val_share, seed=seed)
    typer.echo(f"{out}: {', '.join(f'{count} {what}' for what, count in counts.items())}")


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A binary network (.safetensors).")],
    packed: Annotated[Path, typer.Argument(help="The same network packed (.ebp).")],
    real: Annotated[
        str, typer.Option(help="bf16: also what its real layers in bf16 lose in top-1.")
    ] = "fp32",
) -> None:
    """Accuracy of both on the prepared validation images, and whether they agree.

    The images are those of data/beton, as params.yaml says; `dvc repro prepare` makes them.
    """
    from ebcore.measure.evaluate import scores, see_validation
    from ebcore.models import load_model
    from ebcore.packed import load
    from ebcore.params import load_params
    from ebcore.tables import scores_table, show

    rounded = None if real == "fp32" else load(packed, real=real)
    outcome, _ = see_validation(load_model(checkpoint), load(packed), load_params(), rounded)
    show(scores_table(scores(outcome)))


@app.command()
def predict(
    packed: Annotated[Path, typer.Argument(help="A packed file (.ebp).")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    top: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 5,
    threads: Threads = 1,
) -> None:
    """Classify images: class names with probabilities, best first."""
    from ebcore.predict import predict_images
    from ebcore.tables import predictions_table, show

    for path, ranked in predict_images(packed, images, top=top, threads=threads):
        typer.echo(path)
        show(predictions_table(ranked))


@app.command()
def bench(
    packed: Annotated[Path, typer.Argument(help="A packed file (.ebp).")],
    threads: Threads = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per call.")] = 1,
    repeats: Annotated[int, typer.Option(min=3, help="Timed samples of each candidate.")] = 20,
    min_seconds: Annotated[
        float, typer.Option(min=0, help="Least length of a timed sample, in seconds.")
    ] = 0.01,
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Also time the libraries that are installed.")
    ] = True,
    csv: Annotated[Path | None, typer.Option(help="Also write the rows to this file.")] = None,
) -> None:
    """Time the packed network, whole and per layer, against PyTorch, ONNX Runtime, OpenVINO, ...

    Shows the share of the machine's own limit too. `pip install .[peers]` brings the libraries
    that are optional; one that is missing is left out.
    """
    from ebcore.measure.benchmark import benchmark
    from ebcore.measure.rows import COLUMNS, write_rows
    from ebcore.tables import benchmark_tables, show

    rows = benchmark(
        packed,
        threads=threads,
        batch_size=batch_size,
        repeats=repeats,
        min_seconds=min_seconds,
        names=None if peers else (),
    )
    for table in benchmark_tables(rows):
        show(table)
    if csv is not None:
        write_rows(csv, COLUMNS, rows)
        typer.echo(f"{len(rows)} rows in {csv}")


@app.command()
def doctor(
    profile: Annotated[
        str | None, typer.Option(help="One of `ebcore profile list`; default the active one.")
    ] = None,
) -> None:
    """What this machine has and lacks for the active profile; exit code 1 if something is missing.

    Looks at Python, FFCV, the native kernels, GPUs with driver and NCCL, disks against the
    estimate, memory, /dev/shm, limits, compiler, git and DVC. Changes nothing.
    """
    from ebcore.doctor.examination import examine, findings_table
    from ebcore.params import load_params
    from ebcore.profiles import ACTIVE, profile_file
    from ebcore.tables import show

    params = load_params(profile_file(profile) if profile else ACTIVE)
    findings = examine(params)
    show(findings_table(findings, params.profile))
    if any(finding.status == "missing" for finding in findings):
        raise typer.Exit(1)


@profile_app.command("list")
def profile_list() -> None:
    """The profiles there are; the active one is marked."""
    from ebcore.profiles import ACTIVE, active_profile, profile_names

    active = active_profile()
    for name in profile_names():
        typer.echo(f"{'*' if name == active else ' '} {name}")
    if active is None and ACTIVE.is_file():
        typer.echo(f"{ACTIVE} equals none of them: it was edited.")


@profile_app.command("use")
def profile_use(
    name: Annotated[str, typer.Argument(help="One of `ebcore profile list`.")],
    force: Annotated[
        bool, typer.Option("--force", help="Drop edits of params.yaml that no profile has.")
    ] = False,
) -> None:
    """Make a profile the pipeline's parameters: params/NAME.yaml becomes params.yaml."""
    from ebcore.profiles import ACTIVE, use_profile

    use_profile(name, force=force)
    typer.echo(f"{ACTIVE} is now profile {name}. `make repro` runs it.")


@profile_app.command("show")
def profile_show(
    name: Annotated[
        str | None, typer.Argument(help="A profile; without one, the active parameters.")
    ] = None,
) -> None:
    """Print a profile's parameters, checked."""
    from ebcore.params import load_params
    from ebcore.profiles import ACTIVE, profile_file

    path = profile_file(name) if name else ACTIVE
    load_params(path)
    typer.echo(path.read_text(encoding="utf-8"), nl=False)


if __name__ == "__main__":
    main()
