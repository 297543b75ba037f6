"""growth/dvc.yaml: a pipeline of its own, a stage for each structure, and its flows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from ebcore.errors import InputError
from ebcore.growth.files import TABLE
from flows import work
from flows.growth import _stage
from flows.study import growth_table
from flows.tracking import Tracker
from flows.work import EXPERIMENT
from tests.flows.conftest import Checkout
from tests.flows.test_dvc import ROOT, commit_as_done, dvc, out_of_date, pipeline, set_params
from tests.growth.conftest import study_params

__all__ = ["pipeline"]

STUDY = "growth/dvc.yaml"
TINY = {"series": "E = 1", "spec": "1111-1-1:1:1:1"}
TOY_STUDY = """
vars: [../params.yaml]
stages:
  toy:
    foreach: ${experts}
    do:
      wdir: ..
      cmd: exec python toy.py ${item}
      deps: [mode]
      outs: [{"metrics/toy-${item}.json": {cache: false}}]
"""


@pytest.fixture
def study(pipeline: Path) -> Path:
    """Both pipelines with every stage done, two structures in the study."""
    (pipeline / "growth").mkdir()
    (pipeline / STUDY).write_text((ROOT / STUDY).read_text())
    set_params(pipeline, growth={"structures": {"one": TINY, "two": {**TINY, "se": True}}})
    commit_as_done(pipeline)
    dvc("commit", "--force", "--quiet", STUDY, folder=pipeline)
    assert out_of_date(pipeline) == set()
    return pipeline


def study_status(folder: Path) -> set[str]:
    """The study's stages that are out of date, without their file."""
    found = out_of_date(folder)
    assert all(name.startswith(f"{STUDY}:") for name in found)
    return {name.removeprefix(f"{STUDY}:") for name in found}


def test_a_stage_for_each_structure_and_one_that_collects(study: Path) -> None:
    edges = dvc("dag", STUDY, folder=study)
    for name in ("growth@one", "growth@two", "growth_plot", "prepare"):
        assert name in edges
    assert "train_one" not in edges


def test_a_new_structure_makes_itself_and_the_plot_stale(study: Path) -> None:
    structures = yaml.safe_load((study / "params.yaml").read_text())["growth"]["structures"]
    set_params(study, growth={"structures": {**structures, "three": TINY}})
    assert study_status(study) == {"growth@three", "growth_plot"}
    assert dvc("status", "--json", "dvc.yaml", folder=study).strip() == "{}"


def test_a_changed_structure_makes_itself_and_the_plot_stale(study: Path) -> None:
    set_params(study, growth={"structures": {"one": TINY, "two": {**TINY, "se": False}}})
    assert study_status(study) == {"growth@two", "growth_plot"}


def test_later_steps_of_the_pipeline_do_not_concern_it(study: Path) -> None:
    set_params(study, train_binary__lr=0.5)
    assert not any(name.startswith("growth") for name in out_of_date(study))


def test_a_profile_without_structures_has_none(study: Path) -> None:
    set_params(study, growth={"structures": {}})
    assert study_status(study) == {"growth_plot"}


def test_an_entry_is_a_run_with_its_own_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(work, "data_hash", lambda: "0123abcd")
    Path("params.yaml").write_text((ROOT / "params/digits.yaml").read_text())
    for structures in ({"b": {**TINY, "experts": 2}}, {"a": TINY, "b": {**TINY, "experts": 2}}):
        set_params(tmp_path, growth={"structures": structures})
        stage = _stage("b")
        assert stage.params is not None
        with Tracker(stage, stage.params) as tracker:
            tracker.finish({"top1": 97.5, "bops": 5e6})
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    new, old = client.search_runs([experiment.experiment_id], "tags.structure = 'b'")
    assert (new.info.run_name, new.data.tags["dvc_stage"]) == ("growth@b", f"{STUDY}:growth@b")
    assert (new.data.tags["series"], new.data.tags["experts"]) == ("E = 1", "2")
    assert new.data.params["model.spec"] == "1111-1-1:1:1:1"
    assert new.data.metrics == {"top1": 97.5, "bops": 5e6}
    assert old.data.tags["superseded"] == new.info.run_id  # the other entry makes no difference


def test_an_unknown_structure_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text((ROOT / "params/digits.yaml").read_text())
    with pytest.raises(InputError, match=r"growth\.structures\.huge: is not in params\.yaml"):
        _stage("huge")


def test_the_terminals_table_has_a_row_for_each_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    TABLE.parent.mkdir()
    TABLE.write_text(
        "name,series,spec,experts,bops,flops,top1,top5,seconds\n"
        "one,E = 1,1111-1-1:1:1:1,1,6193152,319232,98.6111,100.0,17.2\n"
    )
    table = growth_table(study_params())
    cells = [next(iter(column.cells)) for column in table.columns]
    assert cells == ["one", "E = 1", "1111-1-1:1:1:1", "1", "6.19", "0.32", "98.61", "100.00", "17"]


def toy_study(checkout: Checkout) -> None:
    """The toy stage moves into a pipeline of its own below the root."""
    (checkout.folder / "dvc.yaml").unlink()
    (checkout.folder / "growth").mkdir()
    (checkout.folder / STUDY).write_text(TOY_STUDY)
    toy = checkout.folder / "toy.py"
    toy.write_text(
        toy.read_text().replace('Stage("toy", body', 'Stage("toy", body, folder="growth"')
    )
    params: dict[str, Any] = yaml.safe_load((checkout.folder / "params.yaml").read_text())
    params["experts"] = [4]
    (checkout.folder / "params.yaml").write_text(yaml.safe_dump(params))


def test_dvc_runs_a_stage_of_the_second_pipeline(checkout: Checkout, prefect_url: str) -> None:
    toy_study(checkout)
    done = checkout.run("dvc", "repro", STUDY, PREFECT_API_URL=prefect_url)
    assert done.returncode == 0, done.stderr
    assert "a worker's line" in done.stdout + done.stderr
    assert json.loads((checkout.folder / "metrics/toy-4.json").read_text()) == {"top1": 97.5}


def test_a_run_that_dvc_did_not_start_asks_the_second_pipeline(
    checkout: Checkout, prefect_url: str
) -> None:
    toy_study(checkout)
    done = checkout.run("python", "toy.py", "4", PREFECT_API_URL=prefect_url)
    assert done.returncode == 0, done.stderr
    assert "toy@4" in (checkout.folder / "growth/dvc.lock").read_text()
