"""Whether what PhotoGPT said to somebody else counts, and is worth to be stored."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.domain.sighting import counts, is_worth_storing
from service.domain.training import Rules, Status, Watch

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RULES = Rules(poll_interval=5 * MINUTE, lease=MINUTE, overdue_after=35 * MINUTE, expire_after=timedelta(hours=24))
WATCH = Watch(Status.TRAINING, NOW)
INTENT = Watch(Status.SUBMITTING, NOW)


@pytest.mark.parametrize(
    ("watch", "polled", "began", "expected"),
    [
        (WATCH, None, NOW + SECOND, True),
        (WATCH, None, NOW, False),
        (WATCH, None, NOW - SECOND, False),
        (WATCH, NOW + MINUTE, NOW + MINUTE + SECOND, True),
        (WATCH, NOW + MINUTE, NOW + MINUTE, False),
        (WATCH, NOW + MINUTE, NOW + SECOND, False),
        (INTENT, None, NOW + MINUTE, False),
        (INTENT, None, NOW + MINUTE + SECOND, True),
        (replace(WATCH, status=Status.READY), None, NOW + SECOND, False),
    ],
)
def test_only_what_was_asked_after_our_trigger_and_our_last_poll_counts(
    watch: Watch, polled: datetime | None, began: datetime, expected: bool
) -> None:
    assert counts(watch, polled, began, RULES) is expected


@pytest.mark.parametrize(
    ("before", "after", "polled_ago", "expected"),
    [
        (WATCH, replace(WATCH, status=Status.READY), SECOND, True),
        (WATCH, replace(WATCH, status=Status.DELETED), None, True),
        (WATCH, replace(WATCH, left_baseline=True), SECOND, True),
        (WATCH, replace(WATCH, raw_status="training"), SECOND, False),
        (WATCH, replace(WATCH, overdue=True), SECOND, False),
        (WATCH, WATCH, 4 * MINUTE - SECOND, False),
        (WATCH, WATCH, 4 * MINUTE, True),
        (WATCH, replace(WATCH, status=Status.EXPIRED), SECOND, False),
        (WATCH, replace(WATCH, status=Status.EXPIRED), 4 * MINUTE, True),
        (INTENT, replace(INTENT, status=Status.TRAINING), None, True),
        (INTENT, replace(INTENT, readings=1), 9 * MINUTE, False),
        (INTENT, replace(INTENT, left_baseline=True), 9 * MINUTE, False),
    ],
)
def test_news_is_stored_and_what_stands_in_for_a_poll(
    before: Watch, after: Watch, polled_ago: timedelta | None, expected: bool
) -> None:
    polled = None if polled_ago is None else NOW - polled_ago
    assert is_worth_storing(before, after, polled, NOW, RULES) is expected
