"""Files are whole or absent."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ebcore.errors import InputError
from ebcore.files import atomic_write, sha256_file

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as file:
        file.write("old")
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write("new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_reported_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    refusal = pytest.raises(InputError, match=r"file: cannot be written \(No space left")
    with refusal, atomic_write(path) as file:
        file.write("new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_caller_is_not_blamed_on_the_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "file"):
        (tmp_path / "input").read_text()


def test_sha256_of_known_text(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(tmp_path / "f") == expected


def test_what_a_killed_writer_left_behind_is_removed_by_the_next(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from ebcore.files import atomic_write\n"
        "with atomic_write('file') as file:\n"
        "    file.write('half'); file.flush()\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    path = tmp_path / "file"
    path.write_text("old")
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT)
        left = [found.name for found in tmp_path.iterdir() if found != path]
        assert len(left) == 1 and left[0].startswith(".file.") and left[0].endswith(".part")
        assert path.read_text() == "old"
    with atomic_write(tmp_path / "file-2"):  # another file's are left alone
        pass
    assert len(list(tmp_path.glob(".file.*"))) == 1
    with atomic_write(path) as file:
        file.write("new")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["file", "file-2"]


def test_two_writers_do_not_take_each_other_for_dead(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as first, atomic_write(path) as second:
        first.write("first")
        second.write("second")
    assert path.read_text() == "first"  # closed last
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_takes_no_new_file_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "mkstemp", full)
    with (
        pytest.raises(InputError, match=r"file: cannot be written"),
        atomic_write(tmp_path / "file"),
    ):
        pass
