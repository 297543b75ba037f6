"""The command, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image

from ebcore.data.convert import convert
from ebcore.models import resnet
from ebcore.models.checkpoint import save_model
from ebcore.params import parse_params
from ebcore.workspace import BETON

ROOT = Path(__file__).parents[1]
COMMANDS = (
    "summary",
    "pack",
    "import-official",
    "import-sketches",
    "evaluate",
    "predict",
    "bench",
    "profile",
    "doctor",
)


def ebcore(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb"}
    command = [sys.executable, "-m", "ebcore.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def error_line(result: subprocess.CompletedProcess[str]) -> str:
    """The last line of stderr of a command that ended as bad input should."""
    assert result.returncode == 2, result
    assert "Traceback" not in result.stderr
    last = result.stderr.rstrip("\n").splitlines()[-1]
    assert last.startswith("error: ")
    return last


def test_help_is_quick_and_lists_the_commands() -> None:
    """Well under a second where importing torch alone takes longer: nothing heavy is loaded."""
    best = min(_seconds_of_help() for _ in range(3))
    assert best < 1.0
    text = ebcore("--help").stdout
    for command in COMMANDS:
        assert command in text


def _seconds_of_help() -> float:
    start = time.perf_counter()
    assert ebcore("--help").returncode == 0
    return time.perf_counter() - start


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = ebcore(command, "--help")
    assert result.returncode == 0 and "Usage" in result.stdout


def test_version() -> None:
    import ebcore as package

    assert ebcore("--version").stdout == f"ebcore {package.__version__}\n"


def test_summary_prints_the_paper_s_totals() -> None:
    """1262-2-4:8:8:16 has 1.707e9 binary operations (Table 4)."""
    result = ebcore("summary", "1262-2-4:8:8:16")
    assert result.returncode == 0, result.stderr
    total = result.stdout.splitlines()[-2]
    assert "total" in total and "1,706,786,816" in total


def test_summary_of_a_name_uses_its_options() -> None:
    """Real-to-Binary's Table 1: 1.676e9 for Bi-Real Net, 1.93e7 more with binary shortcuts."""
    totals = [
        ebcore("summary", "bi-real-18", *options).stdout.splitlines()[-2]
        for options in ((), ("--shortcut", "binary"))
    ]
    assert "1,676,279,808" in totals[0] and "1,695,547,392" in totals[1]


def test_wrong_structure_is_one_line() -> None:
    line = error_line(ebcore("summary", "1262"))
    assert "'1262'" in line and "1262-2-4:8:8:16" in line


def test_missing_checkpoint_is_one_line(tmp_path: Path) -> None:
    line = error_line(ebcore("summary", "none.safetensors", cwd=tmp_path))
    assert "none.safetensors: does not exist" in line


@pytest.mark.parametrize(
    "arguments",
    [("pack", "none.safetensors", "out.ebp"), ("bench", "none.ebp"), ("predict", "none.ebp", "x")],
)
def test_missing_file_is_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    line = error_line(ebcore(*arguments, cwd=tmp_path))
    assert arguments[1] in line
    assert not (tmp_path / "out.ebp").exists()


def test_profile_list_use_and_show(tmp_path: Path) -> None:
    (tmp_path / "params").mkdir()
    digits = (ROOT / "params" / "digits.yaml").read_text()
    (tmp_path / "params" / "digits.yaml").write_text(digits)
    (tmp_path / "params.yaml").write_text(digits + "# mine\n")
    assert "--force" in error_line(ebcore("profile", "use", "digits", cwd=tmp_path))
    assert ebcore("profile", "use", "digits", "--force", cwd=tmp_path).returncode == 0
    assert ebcore("profile", "list", cwd=tmp_path).stdout == "* digits\n"
    assert ebcore("profile", "show", cwd=tmp_path).stdout == digits


def test_evaluate_prints_both_accuracies_or_what_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for split, label in ((s, n) for s in ("train", "val") for n in range(3)):
        folder = Path("images") / split / str(label)
        folder.mkdir(parents=True)
        Image.new("RGB", (16, 16), (80 * label, 50, 20)).save(folder / "0.JPEG")
    content = yaml.safe_load((ROOT / "params/digits.yaml").read_text())
    content["data"] |= {"name": "grey", "folder": "images", "fetch": [], "loader": "folder"}
    params = parse_params(content, "params.yaml")
    Path("params.yaml").write_text(yaml.safe_dump(content))
    convert(Path("images"), BETON, params.prepare, "folder", name="grey", progress=False)
    for classes in (3, 4):
        model = resnet("1111-1-1:1:1:1", experts=2, num_classes=classes, width=8, stem_width=8)
        metadata = {"classes": ["x"] * classes, "mean": [0.4] * 3, "std": [0.2] * 3}
        metadata |= {"image_size": 16, "resize": None}
        save_model(f"{classes}.safetensors", model, metadata)
        assert ebcore("pack", f"{classes}.safetensors", f"{classes}.ebp").returncode == 0
    done = ebcore("evaluate", "3.safetensors", "3.ebp")
    assert done.returncode == 0, done.stderr
    assert "3 validation images" in done.stdout
    assert "PyTorch" in done.stdout and "packed" in done.stdout and "100.00" in done.stdout
    wrong = ebcore("evaluate", "4.safetensors", "4.ebp")
    assert "has 3 classes, the network 4" in error_line(wrong)


def test_a_folder_in_the_place_of_the_output_is_named(tmp_path: Path) -> None:
    model = resnet("1111-1-1:1:1:1", experts=1, num_classes=2, width=8, stem_width=8)
    save_model(tmp_path / "m.safetensors", model, {"classes": ["a", "b"], "image_size": 32})
    (tmp_path / "out").mkdir()
    result = ebcore("pack", str(tmp_path / "m.safetensors"), str(tmp_path / "out"))
    assert f"{tmp_path / 'out'}: cannot be written (Is a directory)" in error_line(result)


def test_sketches_that_are_not_there(tmp_path: Path) -> None:
    result = ebcore("import-sketches", "sketchy", "nothing", "out", cwd=tmp_path)
    assert "nothing: no such folder. Name the unpacked archive." in error_line(result)
    assert not (tmp_path / "out").exists()
