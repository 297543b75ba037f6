"""What listens while two workers train on one host: nothing that another host could reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

from ebcore.train.job import make_job
from tests.train.test_training import assert_no_worker_left, wait_for_state

if TYPE_CHECKING:
    from tests.train.conftest import Place


@pytest.mark.slow
@pytest.mark.parametrize("shared", ["0", "1"])  # torchrun's store is also the workers'; or is not
def test_training_on_one_host_listens_on_loopback_only(
    place: Place, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", shared)
    step = {**place.content["train_one"], "epochs": 500}
    params = place.params(checkpoint_seconds=0.05, train_one=step)
    folder = make_job("train_one", 1, params).folder
    process = place.start("train_one")
    try:
        wait_for_state(place, folder)
        family = psutil.Process(process.pid).children(recursive=True)
        found = {
            connection.laddr.ip
            for child in family
            for connection in child.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert len(family) == 3  # torchrun and two workers
        assert found == {"127.0.0.1"}
    finally:
        process.terminate()
        process.wait(60)
        assert_no_worker_left(folder)
