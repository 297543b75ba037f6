"""Kept runs and the page made of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ebcore.checkpoint import save_checkpoint, weights_sha256
from ebcore.errors import InputError
from ebcore.params import Params
from ebcore.report.files import read_rows
from ebcore.results.keep import keep, trainings
from ebcore.results.page import curves_figure, read_runs, results_page
from ebcore.workspace import checkpoint_file
from tests.report.made_up import (
    PARAMS,
    ftbnn_params,
    hybrid_params,
    params_for,
    write_branch,
    write_ftbnn,
    write_hybrid,
    write_network,
)

LITERATURE = [{"network": "ResNet-20", "bits": "1/1", "top1": "86.5", "source": "a paper"}]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Params]:
    """`kept([1, 4], seed=1)` makes up a finished run of the digits profile and keeps it."""
    monkeypatch.chdir(tmp_path)

    def make(experts: list[int], seed: int = 0, others: bool = False) -> Params:
        for count in experts:
            write_branch(count)
        params = params_for(experts).model_copy(update={"seed": seed})
        if others:
            params = _with_other_methods(params)
        for stage, item in trainings(params):
            save_checkpoint(checkpoint_file(stage, item), {"w": torch.tensor([float(seed)])}, {})
        text = PARAMS.read_text().replace("seed: 0\n", f"seed: {seed}\n", 1)
        text = text.replace("experts: [1, 2, 4]", f"experts: {experts}", 1)
        text = text.replace("  seeds: [0, 1, 2]", f"  seeds: {[0] if others else []}")
        networks = "".join(f"\n- {name}" for name in params.networks) or " []"
        Path("params.yaml").write_text(text.partition("networks:")[0] + f"networks:{networks}\n")
        keep(params)
        return params

    return make


def _with_other_methods(params: Params) -> Params:
    """A seed of hybrid and FTBNN, trained and packed."""
    write_hybrid({"wbin": [90.0], "fprec": [91.0], "fbin": [80.0], "hybrid": [85.0]}, {0: [6, 7]})
    write_ftbnn({"relu": [81.0], "baseline": [82.0]})
    params = hybrid_params(params, [0], ["wbin", "fprec"])
    params = ftbnn_params(params, [0], ["relu", "baseline"])
    names = ["hybrid_train-0", "ftbnn_binary-relu-0"]
    for name, top1 in zip(names, (85.5, 81.5), strict=True):
        write_network(name, top1, packed=0.5, onednn_fp32=2.0)
    return params.model_copy(update={"networks": names})


def test_a_kept_run_holds_every_training_network_and_share(kept: Callable[..., Params]) -> None:
    params = kept([1, 4])
    folder = Path(f"results/{params.profile}-0")
    rows = {(row["stage"], row["item"]): row for row in read_rows(folder / "trainings.csv")}
    assert (
        set(rows)
        == set(trainings(params))
        == {
            ("train_one", ""),
            ("train_experts", "1"),
            ("train_experts", "4"),
            ("train_binary", "1"),
            ("train_binary", "4"),
        }
    )
    last = rows["train_binary", "4"]
    assert float(last["top1"]) == 95.0  # 95 + 4 / 4 - 1, as made up
    assert last["cpu"] and last["torch"] and last["commit"]
    assert last["weights_sha256"] == weights_sha256("checkpoints/train_binary-4.safetensors")
    assert [row["experts"] for row in read_rows(folder / "networks.csv")] == ["1", "4"]
    shares = [row for row in read_rows(folder / "usage.csv") if row["network"] == "4"]
    by_layer: dict[str, float] = {}
    for row in shares:
        by_layer[row["layer"]] = by_layer.get(row["layer"], 0.0) + float(row["share"])
    assert list(by_layer.values()) == pytest.approx([1.0] * 12, abs=1e-4)
    assert (folder / "params.yaml").read_bytes() == Path("params.yaml").read_bytes()


def test_weights_have_the_same_digest_whatever_else_the_file_says(tmp_path: Path) -> None:
    one, other, third = (tmp_path / name for name in ("1", "2", "3"))
    save_checkpoint(one, {"w": torch.ones(3)}, {"fingerprint": "a"})
    save_checkpoint(other, {"w": torch.ones(3)}, {"fingerprint": "b"})
    save_checkpoint(third, {"w": torch.tensor([1.0, 1.0, 2.0])}, {"fingerprint": "a"})
    assert weights_sha256(one) == weights_sha256(other) != weights_sha256(third)


def test_the_page_says_what_was_measured(kept: Callable[..., Params]) -> None:
    kept([1, 4])
    page = results_page(read_runs(), LITERATURE)
    # 95 + N / 4 in steps 1 and 3, a point less with binary weights; step 1 is written by the last.
    assert "| 1 | 96.00 | 95.25 | 94.25 | 96.50 |" in page
    assert "| 4 | 96.00 | 96.00 | 95.00 | 96.50 |" in page
    assert "With binary weights 4 experts gain 0.75 points\nover one (one seed" in page
    assert "| ResNet-20 | 1/1 | 86.5 | a paper |" in page
    assert "&" not in page.replace("&lt;", "&"), "nothing is escaped for HTML"
    assert page == results_page(read_runs(), LITERATURE)


def test_all_methods_come_into_one_table(kept: Callable[..., Params]) -> None:
    kept([1, 4], others=True)
    page = " ".join(results_page(read_runs(), LITERATURE).split())
    table = page[page.index("### All packed networks") : page.index("### Trainings")]
    for method, variant, top1 in (
        ("ebconv", "N = 1", "96.50"),
        ("ebconv", "N = 4", "96.50"),
        ("hybrid", "hybrid", "85.50"),
        ("ftbnn", "relu", "81.50"),
    ):
        assert f"| {method} | {variant} | 0 |" in table and top1 in table, variant
    assert "left real the inputs of layers 6, 7 of 2 to 17." in table
    assert "`relu`: activation: relu" in table
    assert "| digits-0 | hybrid_compared@wbin-0 | 5 | 90.00 |" in page
    (run,) = read_runs()
    assert [row["layer"] for row in run.partition if row["real_input"] == "1"] == ["6", "7"]


def test_seeds_of_a_profile_become_mean_and_spread(kept: Callable[..., Params]) -> None:
    kept([1, 4])
    kept([1, 4], seed=1)
    trainings = Path("results/digits-1/trainings.csv")
    row = "train_binary,4,ebconv,1,5,95,"
    trainings.write_text(trainings.read_text().replace(row, row.replace("95", "97")))
    page = results_page(read_runs(), LITERATURE)
    assert "EBConv with seed 0, 1;" in page
    assert "| 4 | 96.00 ± 0.00 | 96.00 ± 0.00 | 96.00 ± 1.41 |" in page  # 95 and 97
    assert "gain 1.75 points\nover one (seed by seed: 0.75, 2.75)" in page


def test_experts_that_lose_with_a_higher_training_loss_are_said_to_fit_less(
    kept: Callable[..., Params],
) -> None:
    kept([1, 4])
    assert "fit even the training images less" not in results_page(read_runs(), LITERATURE)
    trainings = Path("results/digits-0/trainings.csv")
    rows = trainings.read_text().splitlines()
    (index,) = (i for i, row in enumerate(rows) if row.startswith("train_binary,4,"))
    assert ",95,99.9,95.25,0.1,0.05," in rows[index]  # top1, top5, best_top1, loss, train_loss
    rows[index] = rows[index].replace(",95,99.9,95.25,0.1,0.05,", ",90,99.9,95.25,0.1,0.07,")
    trainings.write_text("\n".join(rows) + "\n")
    page = results_page(read_runs(), LITERATURE)
    assert "4 experts lose 4.25 points" in page
    assert "is 0.050 with one and\n0.070 with 4 experts.\nSo the experts fit even the" in page


def test_a_note_goes_onto_the_page(kept: Callable[..., Params]) -> None:
    kept([1])
    Path("results/digits-0/note.txt").write_text("The machine was busy.\n")
    page = results_page(read_runs(), LITERATURE)
    assert "\n\nThe machine was busy.\n\n### Accuracy" in page


def test_curves_go_through_the_three_steps(kept: Callable[..., Params]) -> None:
    kept([1, 4])
    (run,) = read_runs()
    figure = curves_figure(run)
    assert figure == curves_figure(run) and figure.startswith("<svg xmlns")
    for text in ("step 1, shared", "N = 1", "N = 4"):
        assert text in figure


def test_a_run_that_lacks_a_file_is_named(kept: Callable[..., Params]) -> None:
    kept([1])
    Path("results/digits-0/curves.csv").unlink()
    with pytest.raises(InputError, match=r"results/digits-0/curves\.csv.*make keep"):
        read_runs()
    shutil.rmtree("results")
    with pytest.raises(InputError, match="keeps no run"):
        read_runs()


def test_an_unfinished_run_is_not_kept(kept: Callable[..., Params]) -> None:
    params = kept([1, 4])
    shutil.rmtree("results")
    Path("metrics/train_binary-4.json").unlink()
    with pytest.raises(InputError, match=r"train_binary-4\.json.*dvc repro train_binary@4"):
        keep(params)
    assert not Path("results").exists()


def test_nor_is_one_without_its_partition(kept: Callable[..., Params]) -> None:
    params = kept([1], others=True)
    shutil.rmtree("results")
    Path("plots/hybrid_partition-0.csv").unlink()
    with pytest.raises(InputError, match=r"hybrid_partition-0\.csv"):
        keep(params)
    assert not Path("results").exists()
