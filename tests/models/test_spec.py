"""Structure names."""

import pytest

from ebcore.errors import InputError
from ebcore.models import parse_spec


def test_the_papers_final_structure() -> None:
    spec = parse_spec("1262-2-4:8:8:16")
    assert spec.blocks == (1, 2, 6, 2)
    assert spec.groups == (4, 8, 8, 16)
    assert spec.channels(64) == (128, 256, 512, 1024)


def test_a_decimal_expansion() -> None:
    assert parse_spec("1111-0.5-1:1:1:1").channels(64) == (32, 64, 128, 256)


@pytest.mark.parametrize("text", ["", "1262", "1262-2-4:8:8", "0111-2-1:1:1:1", "1111-2-0:1:1:1"])
def test_other_texts_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match=r"structure"):
        parse_spec(text)
