"""ablation/dvc.yaml: a stage for each variant, an MLflow run for each seed, and the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from ebcore.ablation import train
from ebcore.ablation.files import point_file
from ebcore.errors import InputError
from flows import work
from flows.ablation import _stage
from flows.serve import stage_flows
from flows.stage import StageRun
from flows.study import STUDIES, ablation_table, main
from flows.tracking import Tracker
from flows.work import EXPERIMENT
from tests.ablation.conftest import BASE, CONCAT, ROOT, ablation_params, section, write_results
from tests.flows.test_dvc import commit_as_done, dvc, out_of_date, pipeline, set_params

__all__ = ["pipeline"]

ABLATION = "ablation/dvc.yaml"


@pytest.fixture
def study(pipeline: Path) -> Path:
    """Both pipelines with every stage done, two variants in the ablation."""
    (pipeline / "ablation").mkdir()
    (pipeline / ABLATION).write_text((ROOT / ABLATION).read_text())
    set_params(pipeline, networks=[], ftbnn=section([0], base=BASE, concat=CONCAT))
    commit_as_done(pipeline)
    dvc("commit", "--force", "--quiet", ABLATION, folder=pipeline)
    assert out_of_date(pipeline) == set()
    return pipeline


def stale(folder: Path) -> set[str]:
    return {name.removeprefix(f"{ABLATION}:") for name in out_of_date(folder)}


def test_a_change_concerns_the_variants_it_is_about(study: Path) -> None:
    relu = {**BASE, "activation": "relu"}
    for variants, expected in (
        ({"base": BASE, "concat": CONCAT, "new": relu}, {"ablation@new"}),
        ({"base": BASE, "concat": {**CONCAT, "activation": "relu"}}, {"ablation@concat"}),
        ({"base": BASE}, set()),
    ):
        set_params(study, ftbnn__variants=variants)
        assert stale(study) - {"report"} == {*expected, "ablation_table"}
    set_params(study, ftbnn=section([0, 1], base=BASE, concat=CONCAT))
    assert stale(study) - {"report"} == {"ablation@base", "ablation@concat", "ablation_table"}
    set_params(study, ftbnn__seeds=[0], train_binary__lr=0.5, seed=1)
    assert not any(name.startswith("ablation") for name in stale(study))


def test_every_command_of_it_has_a_flow_for_the_page() -> None:
    names = [flow.name for flow in stage_flows(str(ROOT / ABLATION))]
    assert names == ["ablation", "ablation_table"]


@pytest.fixture
def toy_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout's parameters where a training is a record and its seed's accuracy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(work, "data_hash", lambda: "0123abcd")
    Path("params.yaml").write_text((ROOT / "params/digits.yaml").read_text())
    set_params(tmp_path, networks=[], ftbnn=section([0, 1], base=BASE, concat=CONCAT))

    def trained(params: Any, variant: str, seed: int, *, on_line: Any, on_record: Any) -> Any:
        on_record({"event": "epoch", "step": 9, "epoch": 1, "time": 1.0, "val_top1": 90.0 + seed})
        return {"seed": seed, "top1": 90.0 + seed, "top1_real_weights": 95.0, "epochs": 1.0,
                "seconds": 2.0}  # fmt: skip

    monkeypatch.setattr(train, "train_variant", trained)
    monkeypatch.setattr(train, "write_point", lambda variant, results: None)
    return tmp_path


def test_each_seed_is_a_run_of_the_method(toy_training: Path) -> None:
    stage = _stage("concat")
    assert (stage.address, stage.method) == (f"{ABLATION}:ablation@concat", "ftbnn")
    assert stage.artifacts == (str(point_file("concat")),)
    assert stage.params is not None
    shown: list[int] = []
    with Tracker(stage, stage.params) as tracker:
        run = StageRun(stage.params, print, tracker.record, lambda record: shown.append(1))
        tracker.finish(stage.body(run) or {})
    assert len(shown) == 2

    client = MlflowClient(f"sqlite:///{toy_training / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    found = client.search_runs([experiment.experiment_id], "tags.variant = 'concat'")
    runs = {run.info.run_name: run for run in found}
    assert set(runs) == {"ablation@concat", "ablation@concat-0", "ablation@concat-1"}
    assert {run.data.tags["method"] for run in found} == {"ftbnn"}
    one, both = runs["ablation@concat-1"], runs["ablation@concat"]
    assert one.data.tags["seed"] == "1" and one.data.tags["network"] == "ftbnn_binary-concat-1"
    assert one.data.tags["part_of"] == "ablation@concat"
    assert one.data.params["ftbnn.model.shortcut"] == "concat"
    assert not any("variants.base" in key for key in one.data.params)
    assert one.data.metrics == {"top1": 91.0, "top1_real_weights": 95.0, "epochs": 1.0,
                                "seconds": 2.0, "val_top1": 91.0}  # fmt: skip
    assert both.data.metrics == {"top1": 90.5, "top1_std": pytest.approx(0.5**0.5), "seconds": 4.0}


def test_an_unknown_variant_is_bad_input(toy_training: Path) -> None:
    with pytest.raises(InputError, match=r"ftbnn\.variants\.huge: is not in params\.yaml"):
        _stage("huge")


def test_the_terminals_table_has_a_row_for_each_variant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_results("base", [96.0, 98.0])
    write_results("concat", [95.0, 96.0])
    table = ablation_table(ablation_params([0, 1], base=BASE, concat=CONCAT))
    cells = [list(column.cells)[1] for column in table.columns]
    expected = ["concat", "compression", "95.50 +- 0.71", "99.00 +- 0.00", "-1.50"]
    assert cells[:6] == [*expected, "within the spread"] and cells[-1] == "14"


def test_make_knows_each_study(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for name, study in STUDIES.items():
        assert f"\n{name}: .venv/.project" in makefile and f"-m flows.study {name}\n" in makefile
        assert (ROOT / study.folder / "dvc.yaml").is_file()
    monkeypatch.setattr("sys.argv", ["study", "grow"])
    assert main() == 2
    assert "got ['grow']. Use one of growth, ablation." in capsys.readouterr().err


def test_the_profiles_variants_have_a_stage_each() -> None:
    content = yaml.safe_load((ROOT / "params/digits.yaml").read_text())["ftbnn"]
    assert len(content["variants"]) == 13 and len(content["seeds"]) == 3
    edges = dvc("dag", "--mermaid", ABLATION)
    assert all(f"ablation@{name}" in edges for name in content["variants"])
