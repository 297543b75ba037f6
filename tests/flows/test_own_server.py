"""A run without a server: the one it starts has the whole log, and leaves with it."""

from __future__ import annotations

import pytest

from tests.flows.conftest import Checkout, processes_of


@pytest.mark.slow
def test_a_bare_run_ends_without_complaint_and_leaves_nothing(checkout: Checkout) -> None:
    checkout.set_mode("ok")
    done = checkout.run("dvc", "repro")
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "Finished in state Completed" in output
    assert "Error logging" not in output
    assert not processes_of(checkout)
