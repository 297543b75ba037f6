from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LEAVER = """
import signal, sys, time
from pathlib import Path
from ebcore.processes import leaving
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
try:
    Path("ready").touch()
    time.sleep(30)
finally:
    with leaving():
        Path("leaving").touch()
        time.sleep(0.5)
        Path("left").touch()
"""


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_cut_the_wait_short(tmp_path: Path, again: signal.Signals) -> None:
    root = str(Path(__file__).parents[1])
    code = f"import sys; sys.path.insert(0, {root!r})\n{LEAVER}"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    for name, number in (("ready", signal.SIGTERM), ("leaving", again)):
        while not (tmp_path / name).exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
    assert process.wait(20) == 143
    assert (tmp_path / "left").exists()


def test_a_quick_start_leaves_the_end_as_it_was() -> None:
    root = str(Path(__file__).parents[1])
    code = f"""
import atexit, gc, sys
sys.path.insert(0, {root!r})
from ebcore.processes import start_quickly
start_quickly()
atexit.register(lambda: print("frozen before:", gc.get_freeze_count()))
print("not flushed", end=" ")
sys.exit(3)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert done.stdout == "not flushed frozen before: 0\n"
