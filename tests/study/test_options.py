from __future__ import annotations

from ebcore.study.options import options_text


def test_options_read_as_in_params_yaml() -> None:
    overrides = {"se": True, "stem_width": 8, "activation_position": None}
    assert options_text(overrides) == "se=true stem_width=8 activation_position=none"
