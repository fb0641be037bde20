"""Times as a person gives them on the command line."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
import typer

from service.cli.client import moment

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("90m", NOW - timedelta(minutes=90)),
        ("6h", NOW - timedelta(hours=6)),
        ("3d", NOW - timedelta(days=3)),
        ("2026-02-28T10:00:00Z", datetime(2026, 2, 28, 10, tzinfo=UTC)),
        ("2026-02-28T10:00:00+02:00", datetime(2026, 2, 28, 10, tzinfo=timezone(timedelta(hours=2)))),
        ("2026-02-28T10:00", datetime(2026, 2, 28, 10, tzinfo=UTC)),
        ("2026-02-28 10:00:05", datetime(2026, 2, 28, 10, 0, 5, tzinfo=UTC)),
        ("2026-02-28", datetime(2026, 2, 28, tzinfo=UTC)),
    ],
)
def test_a_time_or_how_long_ago(text: str, expected: datetime) -> None:
    assert moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "soon", "6", "h", "-6h", "6 h", "999999d", "2026-13-01", "²h"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="such as 2026-03-01T12:00, or 6h"):
        moment(text, NOW)
