"""Candidates in processes of their own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ebcore.measure.cases import Convolution, Network, to_json
from ebcore.measure.peers import LAYERS_ONLY, PACKED, PEERS, candidates, environment, title
from ebcore.measure.peers.contest import Contest
from ebcore.measure.peers.worker import Contestant

LAYER = Convolution(32, 32, 6, 6)


def test_int8_by_onednn_runs_twice_where_there_is_amx() -> None:
    assert candidates("avx2 avx512f") == list(PEERS)
    names = candidates("avx512f amx_int8", quick=True)
    assert "torch_compile_fp32" not in names
    assert [name for name in names if "openvino_int8" in name] == [
        "openvino_int8",
        "openvino_int8_no_amx",
    ]
    assert "ort_int8_no_amx" not in names, "nothing keeps ONNX Runtime from AMX"
    assert environment("openvino_int8") == {}
    assert "AMX" not in environment("openvino_int8_no_amx")["ONEDNN_MAX_CPU_ISA"]
    assert title("openvino_int8_no_amx") == "OpenVINO int8, no AMX"


@pytest.mark.parametrize("name", ["packed", "torch_fp32", "onednn_fp32"])
def test_a_contestant_answers(name: str) -> None:
    contestant, case = Contestant(name, 1), to_json(LAYER)
    assert contestant.answer("hello")[0] == "ok"
    assert contestant.answer("prepare", case, 0) == ["ok"]
    status, seconds = contestant.answer("sample", case)
    assert status == "ok" and 0 < seconds < 1
    assert contestant.answer("forget") == ["ok"]
    assert contestant.answer("sample", case)[0] == "no"


def test_what_a_peer_cannot_run_has_its_reason() -> None:
    network = to_json(Network({"spec": "bi-real-18", "width": 8}, 32, 32))
    assert Contestant("onednn_fp32", 1).answer("prepare", network, 0) == ["no", LAYERS_ONLY]
    assert Contestant("torch_fp32", 1).answer("prepare", "no JSON", 0)[0] == "no"


def test_a_missing_package_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(PEERS["openvino_fp32"]), "packages", ("openvino", "no_such_package"))
    reason = PEERS["openvino_fp32"].unavailable()
    assert "no_such_package" in reason and "pip install .[peers]" in reason


def test_a_process_that_dies_leaves_the_others() -> None:
    with Contest(("torch_fp32",), 1) as contest:
        assert set(contest.versions) == {PACKED, "torch_fp32"} and not contest.absent
        nursery = contest._nursery.pid
        children = Path(f"/proc/{nursery}/task/{nursery}/children")
        if not children.exists():
            pytest.skip("no list of child processes on this system")
        pids = [int(pid) for pid in children.read_text().split()]
        assert len(pids) == 2
        os.kill(pids[1], 9)
        entries = [(PACKED, LAYER), ("torch_fp32", LAYER)]
        measured = contest.run(entries, repeats=3, min_seconds=0)
        assert list(measured.times) == [(PACKED, LAYER)]
        assert measured.reasons == {("torch_fp32", LAYER): "its process ended"}
        assert measured.limits["binary"] > measured.limits["fp32"] > 1e9
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in (pids[0], nursery)):
        assert time.monotonic() < deadline, "a process outlives the contest"
        time.sleep(0.05)
