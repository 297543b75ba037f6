from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ebcore.params import Params
from tests.report.made_up import params_for, write_branch


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[int]], Params]:
    """`results([1, 4])` writes these counts' files into a folder of its own and enters it."""
    monkeypatch.chdir(tmp_path)

    def write(experts: list[int]) -> Params:
        for count in experts:
            write_branch(count)
        return params_for(experts)

    return write
