from __future__ import annotations

import os
import socket
import subprocess

from flows.process_id import is_gone, process_id, this_process


def test_a_running_process_is_there() -> None:
    assert not is_gone(this_process())


def test_an_ended_process_is_gone_even_before_it_is_waited_for() -> None:
    process = subprocess.Popen(["sleep", "60"])
    name = process_id(process.pid)
    assert not is_gone(name)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie
    assert is_gone(name)
    process.wait()
    assert is_gone(name)


def test_a_later_process_with_the_same_id_is_another() -> None:
    host, pid, started = this_process().split(":")
    assert is_gone(f"{host}:{pid}:{int(started) - 60}")


def test_of_another_host_nothing_is_known() -> None:
    assert not is_gone("elsewhere:1:0")
    assert is_gone(f"{socket.gethostname()}:{os.getpid()}:0")


def test_of_a_name_by_someone_else_nothing_is_known() -> None:
    for name in ("", "4711", "host:4711", "a:b:c"):
        assert not is_gone(name)
