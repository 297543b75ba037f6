"""Eight stages at once: each completes, and dvc.lock holds them all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from flows.server import prefect_server
from tests.flows.conftest import Checkout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ITEMS = range(1, 9)
LABELS = {f"one@{item}" for item in ITEMS}

# A stage waits until all eight have begun: none ends unless they run side by side.
ONE = """
import sys, time
from pathlib import Path
import flows  # leaves with DVC
item = sys.argv[1]
content = Path("input").read_text()
Path("begun").mkdir(exist_ok=True)
Path("begun", f"{content}-{item}").touch()
while len(list(Path("begun").glob(f"{content}-*"))) < 8:
    time.sleep(0.1)
Path("out").mkdir(exist_ok=True)
Path("out", item).write_text(content + item)
"""

DVC_YAML = """
stages:
  one:
    matrix: {experts: [1, 2, 3, 4, 5, 6, 7, 8]}
    cmd: exec python one.py ${item.experts}
    deps: [input]
    outs: ["out/${item.experts}"]
"""


@pytest.fixture
def eight(checkout: Checkout) -> Checkout:
    (checkout.folder / "one.py").write_text(ONE)
    (checkout.folder / "dvc.yaml").write_text(DVC_YAML)
    (checkout.folder / "input").write_text("first")
    return checkout


@pytest.fixture
def url(eight: Checkout) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(eight.folder / ".prefect"))
        with prefect_server(port=0) as url:
            yield url


def assert_complete(eight: Checkout, content: str) -> None:
    for item in ITEMS:
        assert (eight.folder / "out" / str(item)).read_text() == f"{content}{item}"
    lock = yaml.safe_load((eight.folder / "dvc.lock").read_text())
    assert set(lock["stages"]) == LABELS
    assert eight.run("dvc", "status", "--quiet").returncode == 0


def test_eight_stages_side_by_side(eight: Checkout, url: str) -> None:
    """Each through a `dvc repro` of its own, then through the pipeline flow."""
    command = ("dvc", "--wait-for-lock", "repro", "--single-item")
    processes = [eight.start(*command, label) for label in sorted(LABELS)]
    assert [process.wait(300) for process in processes] == [0] * 8
    assert_complete(eight, "first")
    (eight.folder / "input").write_text("second")
    process = eight.start("python", "-m", "flows.pipeline", "8", PREFECT_API_URL=url)
    assert process.wait(300) == 0
    assert_complete(eight, "second")
