"""The tables that `make repro` ends with."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from flows.summary import results_tables
from tests.report.made_up import (
    hybrid_params,
    params_for,
    write_branch,
    write_hybrid,
    write_network,
)


def lines(table: Table) -> list[str]:
    """As on a terminal of 80 columns."""
    console = Console(width=80, file=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get().splitlines()


def test_other_methods_have_a_table_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_branch(4)
    experts_only = params_for([4])
    assert len(results_tables(experts_only)) == 1
    write_hybrid({"hybrid": [93.0]}, {})
    write_network("hybrid_train-0", 92.5, packed=0.05, torch_fp32=1.0)
    params = hybrid_params(experts_only, [0]).model_copy(update={"networks": ["hybrid_train-0"]})
    experts, others = results_tables(params)
    (row,) = [line for line in lines(others) if "hybrid_train-0" in line]
    # 20,000 of 300,000 bytes; 1 ms in PyTorch, 0.05 ms packed
    cells = [cell.strip() for cell in row.strip("\N{BOX DRAWINGS LIGHT VERTICAL}").split("\u2502")]
    assert cells == ["hybrid", "hybrid_train-0", "93.00", "92.50", "20.0", "15.0 x", "20.0 x"]
    (row,) = [line for line in lines(experts) if "96.50" in line]
    assert "\u2502 4 " in row and "95.00" in row and "37.0" in row  # 21,000 + 4 x 4,000 bytes
