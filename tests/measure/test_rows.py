import csv
from pathlib import Path

from ebcore.measure.machine import machine
from ebcore.measure.rows import MACHINE_COLUMNS, write_rows


def test_missing_is_empty_and_floats_are_short(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write_rows(path, ("case", "a", "b"), [{"case": "x", "a": 1 / 3, "b": None, "other": 1}])
    with open(path, newline="") as file:
        assert list(csv.reader(file)) == [["case", "a", "b"], ["x", "0.333333", ""]]


def test_machine_fills_its_columns() -> None:
    about = machine()
    assert tuple(about) == MACHINE_COLUMNS
    assert about["cpu"] and int(about["cores"]) >= 1 and about["torch"]
