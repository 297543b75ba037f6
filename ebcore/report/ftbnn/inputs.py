"""What FTBNN's page reads: the files of the compared variants and seeds."""

from __future__ import annotations

from ebcore.methods.ftbnn import STEPS
from ebcore.params import Params
from ebcore.report.files import Trained, read_trained

Results = dict[str, dict[str, dict[int, Trained]]]  # by stage, variant, seed


def read_ftbnn(params: Params) -> Results:
    """Reads both steps of all compared variants.

    Raises:
        InputError: a file is missing or damaged; the text names it and the stage that makes it.
    """
    return {
        stage: {
            variant: {seed: read_trained(stage, f"{variant}-{seed}") for seed in params.ftbnn.seeds}
            for variant in params.ftbnn.compared
        }
        for stage in STEPS
    }
