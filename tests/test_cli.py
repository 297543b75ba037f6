"""The command, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


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
    for command in ("summary", "pack", "predict", "bench", "profile"):
        assert command in text


def _seconds_of_help() -> float:
    start = time.perf_counter()
    assert ebcore("--help").returncode == 0
    return time.perf_counter() - start


@pytest.mark.parametrize("command", ["summary", "pack", "predict", "bench", "profile"])
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
