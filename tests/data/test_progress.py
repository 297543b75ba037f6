from __future__ import annotations

import pytest

from ebcore.data import progress
from ebcore.data.progress import Phase, duration, followed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3.25, "3.2 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (2 * 3600 + 61, "2 h 1 min"),
        (86400 * 3 + 3600 * 4 + 59, "3 d 4 h"),
        (86400 * 365.25 * 2.5, "2.5 years"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_rate_by_hand() -> None:
    text = str(Phase("check", images=5000, bytes=500_000_000, seconds=4))
    assert text == "check: 5,000 images in 4.0 s, 1,250 images/s, 125.0 MB/s"


def test_without_a_terminal_lines_tell_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten items a second apart, five done before: after 4 of them 1 of 10 is left, 1 s."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "LINE_SECONDS", 2.0)

    def items() -> object:
        for _ in range(5):
            now[0] += 1
            yield b"12345678" * 125_000

    phases: list[Phase] = []
    list(followed(items(), len, name="write", total=10, done=5, on_phase=phases.append))  # type: ignore[arg-type]
    assert capsys.readouterr().out.splitlines() == [
        "write: 7 of 10 images (70.0 %), 1 images/s, 1.0 MB/s, 3.0 s left",
        "write: 9 of 10 images (90.0 %), 1 images/s, 1.0 MB/s, 1.0 s left",
    ]
    assert phases == [Phase("write", 5, 5_000_000, 5.0)]
