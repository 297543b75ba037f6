"""One process at a time holds a lock, and says who it is."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ebcore.errors import InputError
from ebcore.lock import only_one

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
HOLDER = """
import sys, time
from pathlib import Path
from ebcore.lock import only_one
with only_one(Path("lock"), "work", "is done already"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_is_refused_with_the_process_of_the_first(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER]
    process = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        refusal = f"work: is done already in process {process.pid}. Wait for it"
        refused = pytest.raises(InputError, match=refusal)
        with refused, only_one(tmp_path / "lock", "work", "is done already"):
            raise AssertionError("two at once")
    finally:
        process.kill()
        process.wait()
    with only_one(tmp_path / "lock", "work", "is done already"):  # the killed one holds nothing
        assert (tmp_path / "lock").read_text() == str(os.getpid())
    assert not list(tmp_path.iterdir())


def test_no_two_are_inside_although_the_file_comes_and_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another start may remove the file and make a new one just after it was opened."""
    path, real = tmp_path / "lock", fcntl.flock
    first, next_one = only_one(path, "work", "is done"), only_one(path, "work", "is done")
    first.__enter__()

    def late(file: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        first.__exit__(None, None, None)
        next_one.__enter__()
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(InputError, match="is done"), only_one(path, "work", "is done"):
        raise AssertionError("two at once")
    next_one.__exit__(None, None, None)
    assert not list(tmp_path.iterdir())


def test_a_child_that_inherits_the_file_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    with pytest.raises(KeyError), only_one(path, "work", "is done already") as file:
        child = subprocess.Popen(["sleep", "60"], pass_fds=[file.fileno()])
        path.rename(tmp_path / "kept")  # as if this process were killed: it removes nothing
        raise KeyError
    (tmp_path / "kept").rename(path)
    try:
        with pytest.raises(InputError, match="already"), only_one(path, "work", "is done already"):
            pass
    finally:
        child.kill()
        child.wait()


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    code = (
        "import resource, signal\n"
        "from pathlib import Path\n"
        "from ebcore.lock import only_one\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "with only_one(Path('lock'), 'work', 'is done already'):\n"
        "    pass\n"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert "InputError: lock: cannot be written (File too large). Free space" in ended.stderr
    assert not list(tmp_path.iterdir())
