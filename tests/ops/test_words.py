"""Every state in plain words: what is so, why, what comes next, and what can be done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.delivery import DeliveryStatus, ErrorClass
from service.domain.endpoint import DisabledReason, EndpointStatus
from service.domain.training import Status
from service.ops import words
from service.storage.tables import Attempt, Delivery
from tests.support.rows import NOW, a_delivery, a_training, an_endpoint

MINUTE = timedelta(minutes=1)
DEAD, DELIVERED = DeliveryStatus.DEAD, DeliveryStatus.DELIVERED


def an_attempt(number: int = 1, *, status: int | None = None, error: ErrorClass | None = None) -> Attempt:
    """Under way, unless it has a status or an error."""
    duration = None if status is None and error is None else 12
    return Attempt(
        id=f"att_{number}", delivery_id="dlv_1", number=number, started_at=NOW - MINUTE, duration_ms=duration,
        status_code=status, error_class=error,
    )  # fmt: skip


def tried(times: int = 1, **fields: Any) -> Delivery:
    delivery = a_delivery(**fields)
    delivery.attempts_made = delivery.attempts_started = times
    return delivery


SERVER_ERROR = an_attempt(status=500, error=ErrorClass.HTTP_5XX)
PAUSED, DELETED = an_endpoint(status=EndpointStatus.PAUSED), an_endpoint(deleted_at=NOW)
DISABLED = an_endpoint(status=EndpointStatus.DISABLED)
DISABLED.disabled_reason = DisabledReason.FAILING


@pytest.mark.parametrize(
    ("row", "attempts", "endpoint", "tone", "said"),
    [
        (a_delivery(status=DELIVERED), [], None, "good", "It arrived just now."),
        (tried(3, status=DELIVERED), [], None, "good", "It arrived just now at attempt 3."),
        (a_delivery(), [], None, "busy", "It is to be sent now."),
        (a_delivery(), [an_attempt()], None, "busy", "Attempt 1 is under way since 60 s ago."),
        (
            tried(due_at=NOW + 4 * MINUTE),
            [SERVER_ERROR],
            None,
            "bad",
            (
                "It has not arrived. The last attempt failed: the receiver answered HTTP 500. Next attempt in 4 min "
                "(12:04:00 UTC); 9 more are planned."
            ),
        ),
        (
            tried(9, due_at=NOW + MINUTE),
            [an_attempt(9, error=ErrorClass.REFUSED)],
            None,
            "bad",
            (
                "It has not arrived. The last attempt failed: the connection was refused: nothing listens at that "
                "host and port. Next attempt in 60 s (12:01:00 UTC); it is the last one planned."
            ),
        ),
        (
            tried(due_at=NOW - MINUTE),
            [SERVER_ERROR],
            None,
            "bad",
            (
                "It has not arrived. The last attempt failed: the receiver answered HTTP 500. The next attempt is due "
                "now; 9 more are planned."
            ),
        ),
        (
            a_delivery(endpoint="whe_1", due_at=None),
            [],
            PAUSED,
            "wait",
            "It has not arrived: it is held, since its webhook endpoint is paused.",
        ),
        (
            tried(10, status=DEAD),
            [SERVER_ERROR],
            None,
            "bad",
            "It was given up after 10 attempts. The last attempt failed: the receiver answered HTTP 500.",
        ),
        (
            tried(status=DEAD),
            [an_attempt(status=410, error=ErrorClass.HTTP_4XX)],
            None,
            "bad",
            "It was given up: the receiver answered HTTP 410, which means “no more”.",
        ),
        (a_delivery(status=DEAD), [], None, "bad", "It was given up before it was sent."),
        (
            a_delivery(endpoint="whe_1", status=DEAD),
            [],
            DISABLED,
            "bad",
            "It was given up: its webhook endpoint is disabled, since it failed for 5 days.",
        ),
        (
            a_delivery(endpoint="whe_1", status=DEAD),
            [],
            DELETED,
            "bad",
            "It was given up: its webhook endpoint was deleted.",
        ),
    ],
)
def test_why_a_delivery_is_where_it_is(
    row: Delivery, attempts: Sequence[Attempt], endpoint: Any, tone: str, said: str
) -> None:
    told = words.delivery_said(row, attempts, endpoint, NOW, 10)
    assert (told.tone, told.text) == (tone, said)


def test_what_waits_behind_others_is_said_to() -> None:
    row = a_delivery()
    told = words.delivery_said(row, [], None, NOW + MINUTE, 10)
    assert "its host is busy or down, or an earlier event goes first" in told.text


@pytest.mark.parametrize("error", [error for error in ErrorClass if error is not ErrorClass.HTTP_1XX])
def test_there_is_something_to_do_about_every_kind_of_failure(error: ErrorClass) -> None:
    attempt = an_attempt(error=error, status={"http_3xx": 301, "http_4xx": 404, "http_5xx": 500}.get(error))
    assert words.remedy(attempt)
    assert words.problem(attempt)


@pytest.mark.parametrize("status", Status)
def test_every_status_of_a_training_has_its_words(status: Status) -> None:
    told = words.training_said(a_training(status=status), NOW)
    assert told.text.endswith(".")
    assert told.tone in {"good", "bad", "busy", "wait", "quiet"}


def test_a_running_training_says_what_was_seen_and_when_it_is_looked_at_again() -> None:
    row = a_training(due_at=NOW + 3 * MINUTE)
    row.last_polled_at, row.upstream_status = NOW - 2 * MINUTE, "training"
    assert words.training_said(row, NOW).text == (
        "PhotoGPT is training it. It was last asked 2 min ago, and PhotoGPT said “training”. Next poll in 3 min "
        "(12:03:00 UTC)."
    )
    row.overdue = True
    assert words.training_said(row, NOW).text.startswith("Overdue: it takes longer than trainings do.")
    row.suspended = True
    assert words.training_said(row, NOW).text == "Suspended: PhotoGPT refuses its key, so it is not polled."


def test_a_queued_training_says_its_place() -> None:
    row = a_training(status=Status.QUEUED)
    assert "It is number 3 of its queue." in words.training_said(row, NOW, 3).text


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (EndpointStatus.ACTIVE, "Active, and nothing has failed lately."),
        (EndpointStatus.PAUSED, "Paused: its events wait."),
        (EndpointStatus.DISABLED, "Disabled: it failed for 5 days. Nothing is sent or kept for it."),
    ],
)
def test_how_an_endpoint_does(status: EndpointStatus, said: str) -> None:
    assert words.endpoint_said(an_endpoint(status=status), NOW).text == said


def test_an_endpoint_that_fails_says_since_when_and_why() -> None:
    row = an_endpoint()
    row.failing_since, row.last_problem = NOW - timedelta(days=2), "timeout: no complete answer came in time"
    assert words.endpoint_said(row, NOW).text == (
        "Failing since 2 days ago. The last attempt failed: timeout: no complete answer came in time."
    )


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (timedelta(milliseconds=40), "40 ms"),
        (timedelta(seconds=1), "1 s"),
        (timedelta(seconds=89), "89 s"),
        (timedelta(minutes=25), "25 min"),
        (timedelta(hours=20), "20 h"),
        (timedelta(days=3), "3 days"),
        (timedelta(seconds=-5), "0 ms"),
    ],
)
def test_lengths_of_time(time: timedelta, said: str) -> None:
    assert words.span(time) == said


@given(st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  # its zone is drawn
def test_whenever_it_was_it_can_be_said(at: datetime) -> None:
    assert words.moment(at, NOW)
    assert words.soon(at, NOW)
