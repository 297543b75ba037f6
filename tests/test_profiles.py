from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ebcore.errors import InputError
from ebcore.profiles import active_profile, profile_names, use_profile

DIGITS = Path(__file__).parents[1] / "params" / "digits.yaml"


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
