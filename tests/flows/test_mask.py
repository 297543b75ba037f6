from __future__ import annotations

import pytest

from ebcore.errors import InputError
from flows.server import check_answers, page_of


def test_no_password_is_printed() -> None:
    assert page_of("https://user:secret@team.example/api") == "https://***@team.example"
    assert page_of("http://127.0.0.1:4200/api") == "http://127.0.0.1:4200"
    with pytest.raises(InputError) as caught:
        check_answers("http://user:secret@127.0.0.1:9/api")
    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith("http://***@127.0.0.1:9/api: no Prefect server answers")
