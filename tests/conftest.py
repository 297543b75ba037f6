"""What every test starts from: few threads, and none of the user's servers or state."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")  # test processes share the machine's cores
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-")
for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "DVC_STAGE", "DVC_ROOT"):
    os.environ.pop(name, None)
