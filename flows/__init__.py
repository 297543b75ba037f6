"""The stages of dvc.yaml as Prefect flows, and what serves them."""

import os

from ebcore.processes import leave_with_parent
from flows.environment import prepare_environment

prepare_environment()  # Prefect reads its settings when it is imported
if "DVC_STAGE" in os.environ:
    leave_with_parent()
