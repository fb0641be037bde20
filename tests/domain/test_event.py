"""Event types, who hears which by default, and the bytes of a body."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.event import DEFAULT_CALLBACK_EVENTS, TERMINAL_EVENTS, EventType, event_body, rfc3339
from service.domain.training import TERMINAL

AT = datetime(2026, 11, 22, 15, 4, 5, 123_456, tzinfo=UTC)


def test_the_types_of_events() -> None:
    assert set(EventType) == {
        "training.started",
        "training.overdue",
        "training.suspended",
        "training.ready",
        "training.deleted",
        "training.rejected",
        "training.failed",
        "training.expired",
        "training.cancelled",
        "webhook_endpoint.disabled",
    }


def test_every_end_has_its_event() -> None:
    assert TERMINAL_EVENTS == {
        "ready": "training.ready",
        "deleted": "training.deleted",
        "rejected": "training.rejected",
        "failed": "training.failed",
        "expired": "training.expired",
        "cancelled": "training.cancelled",
    }
    assert set(TERMINAL_EVENTS) == TERMINAL


def test_a_callback_hears_every_end_but_the_one_that_was_asked_for() -> None:
    assert set(DEFAULT_CALLBACK_EVENTS) == {
        "training.ready",
        "training.deleted",
        "training.rejected",
        "training.failed",
        "training.expired",
    }


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (AT, "2026-11-22T15:04:05.123Z"),
        (AT.replace(microsecond=0), "2026-11-22T15:04:05.000Z"),
        (AT.replace(microsecond=999_999), "2026-11-22T15:04:05.999Z"),
        (AT.astimezone(timezone(timedelta(hours=5, minutes=30))), "2026-11-22T15:04:05.123Z"),
        (AT.astimezone(timezone(timedelta(hours=-11))), "2026-11-22T15:04:05.123Z"),
    ],
)
def test_times_are_utc_with_milliseconds(at: datetime, text: str) -> None:
    assert rfc3339(at) == text


def test_a_body_is_compact_json_in_utf8() -> None:
    data = {"id": "trn_1", "metadata": {"name": "Zoë ☃", "n": 1.5, "none": None}}
    assert (
        event_body(EventType.READY, AT, data)
        == (
            '{"type":"training.ready","timestamp":"2026-11-22T15:04:05.123Z",'
            '"data":{"id":"trn_1","metadata":{"name":"Zoë ☃","n":1.5,"none":null}}}'
        ).encode()
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=50)
@given(data=st.dictionaries(st.text(), JSON))
def test_a_body_holds_what_was_put_in(data: dict[str, Any]) -> None:
    body = event_body(EventType.FAILED, AT, data)
    assert json.loads(body) == {"type": "training.failed", "timestamp": "2026-11-22T15:04:05.123Z", "data": data}
