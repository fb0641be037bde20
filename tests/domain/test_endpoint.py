"""When a webhook endpoint that fails is given up, and the words of its states."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.endpoint import DisabledReason, EndpointStatus, failed_too_long

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAYS_5 = timedelta(days=5)


@pytest.mark.parametrize(
    ("failing_for", "too_long"),
    [
        (timedelta(0), False),
        (timedelta(hours=75), False),
        (timedelta(days=4, hours=23, minutes=59, seconds=59), False),
        (DAYS_5 - timedelta(microseconds=1), False),
        (DAYS_5, True),
        (timedelta(days=400), True),
        (timedelta(seconds=-1), False),
    ],
    ids=str,
)
def test_five_days_of_failures_are_too_long(failing_for: timedelta, too_long: bool) -> None:
    assert failed_too_long(NOW - failing_for, NOW) is too_long


@given(first=st.timedeltas(timedelta(0), timedelta(days=10)), more=st.timedeltas(timedelta(0), timedelta(days=10)))
def test_what_is_too_long_stays_so(first: timedelta, more: timedelta) -> None:
    assert failed_too_long(NOW - first - more, NOW) >= failed_too_long(NOW - first, NOW)


def test_the_words_are_those_of_the_api() -> None:
    assert [status.value for status in EndpointStatus] == ["active", "paused", "disabled"]
    assert [reason.value for reason in DisabledReason] == ["gone", "failing"]
