"""The command `ebcore doctor`: reads the machine, judges it, shows a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from ebcore.data.estimate import data_size, network_parameters
from ebcore.doctor.checks import Finding, Needs, folders, judge
from ebcore.doctor.machine import read_machine
from ebcore.params import Params
from ebcore.workspace import BETON

_STYLES = {"ok": "green", "note": "yellow", "missing": "bold red"}


def examine(params: Params) -> list[Finding]:
    """What this machine has and lacks for `params`; reads, changes nothing.

    Raises:
        InputError: PyTorch cannot be imported.
    """
    machine = read_machine(folders(params))
    folder = Path(params.data.folder)
    return judge(
        machine,
        Needs(
            params,
            data_size(params.data.name, folder),
            there=folder.is_dir(),
            prepared=(BETON / "manifest.json").is_file(),
            parameters=network_parameters(params),
        ),
    )


def findings_table(findings: Sequence[Finding], profile: str) -> Table:
    """A line per finding; the caption counts what is missing."""
    missing = sum(finding.status == "missing" for finding in findings)
    table = Table(
        title=f"Profile {profile} on this machine",
        caption=f"{missing} missing" if missing else "Nothing is missing",
    )
    table.add_column("")
    table.add_column("")
    table.add_column("found")
    table.add_column("what to do")
    for finding in findings:
        style = _STYLES[finding.status]
        table.add_row(
            finding.subject,
            f"[{style}]{finding.status}[/{style}]",
            escape(finding.found),
            escape(finding.remedy),
        )
    return table
