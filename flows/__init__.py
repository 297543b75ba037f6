"""The stages of dvc.yaml as Prefect flows, and what serves them."""

import os

from ebcore.processes import leave_with_parent, start_quickly
from flows.environment import prepare_environment

start_quickly()
prepare_environment()  # Prefect reads its settings when it is imported
if "DVC_STAGE" in os.environ:
    leave_with_parent()
