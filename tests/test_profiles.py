from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from ebcore.errors import InputError
from ebcore.profiles import active_profile, profile_names, use_profile

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "params" / "digits.yaml"


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("params").mkdir()
    shutil.copy(DIGITS, "params/digits.yaml")
    other = DIGITS.read_text().replace("seed: 0", "seed: 7")
    Path("params/other.yaml").write_text(other)
    return tmp_path


def test_use_copies_the_profile() -> None:
    assert profile_names() == ["digits", "other"] and active_profile() is None
    use_profile("other")
    assert Path("params.yaml").read_bytes() == Path("params/other.yaml").read_bytes()
    assert active_profile() == "other"
    use_profile("digits")  # an unedited profile is safe to leave
    assert active_profile() == "digits"


def test_edits_are_not_lost_without_force() -> None:
    use_profile("digits")
    edited = Path("params.yaml").read_text().replace("seed: 0", "seed: 3")
    Path("params.yaml").write_text(edited)
    with pytest.raises(InputError, match=r"params\.yaml: holds edits .*--force"):
        use_profile("other")
    assert Path("params.yaml").read_text() == edited
    use_profile("other", force=True)
    assert active_profile() == "other"


def test_an_invalid_profile_is_refused_and_changes_nothing() -> None:
    use_profile("digits")
    Path("params/bad.yaml").write_text(DIGITS.read_text().replace("seed: 0", "seed: -1"))
    with pytest.raises(InputError, match=r"params/bad\.yaml: seed"):
        use_profile("bad")
    assert active_profile() == "digits"


def test_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(InputError, match="Use one of digits, other"):
        use_profile("imagenette")


def test_outside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="params/: holds no profiles"):
        use_profile("digits")


@pytest.mark.parametrize("path", sorted((ROOT / "params").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_profile_has_every_section_that_its_stages_read(path: Path) -> None:
    """DVC refuses a stage whose parameters are missing, however good their defaults are."""
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    profile = yaml.safe_load(path.read_text())
    for name, stage in pipeline["stages"].items():
        items = stage.get("foreach")
        if name.startswith(("hybrid", "ftbnn", "train_real")) or items == "${networks}":
            continue  # of a method or a teacher that the profile may leave out
        for parameter in stage.get("do", stage).get("params", []):
            if isinstance(parameter, str) and "$" not in parameter:
                found: Any = profile
                for key in parameter.split("."):
                    assert key in found, f"{name} reads {parameter}"
                    found = found[key]
