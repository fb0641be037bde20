"""What one attempt means for its delivery."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.delivery import TRANSITIONS, AttemptOutcome, Decision, DeliveryStatus, ErrorClass, after

PENDING, DELIVERED, DEAD = DeliveryStatus.PENDING, DeliveryStatus.DELIVERED, DeliveryStatus.DEAD
SCHEDULE = [timedelta(seconds=step) for step in (0, 10, 100)]
TEN, HUNDRED = timedelta(seconds=10), timedelta(seconds=100)


def answered(status_code: int, retry_after: timedelta | None = None) -> AttemptOutcome:
    error_class = ErrorClass.of_status(status_code)
    return AttemptOutcome(status_code, error_class, timedelta(0), retry_after=retry_after)


def test_only_pending_deliveries_change() -> None:
    moves = {
        (status.value, result.name): to.value for status in TRANSITIONS for result, to in TRANSITIONS[status].items()
    }
    assert moves == {
        ("pending", "SUCCEEDED"): "delivered",
        ("pending", "FAILED"): "pending",
        ("pending", "FAILED_LAST"): "dead",
        ("pending", "GONE"): "dead",
    }
    assert set(TRANSITIONS) == {"pending", "delivered", "dead"}


@pytest.mark.parametrize("status_code", [200, 201, 202, 203, 204, 206, 226, 299])
@pytest.mark.parametrize("attempts_made", [1, 3, 4])
def test_2xx_is_success_at_any_attempt(status_code: int, attempts_made: int) -> None:
    assert after(answered(status_code), attempts_made, SCHEDULE, 0.5) == Decision(DELIVERED)


FAILURES = [
    *(100, 101, 199),
    *(300, 301, 302, 303, 304, 307, 308, 399),
    *(400, 401, 403, 404, 405, 408, 409, 411, 413, 418, 422, 425, 429, 451, 499),
    *(500, 501, 502, 503, 504, 520, 599),
    *(0, 600, 999),
]


@pytest.mark.parametrize("status_code", FAILURES)
def test_any_other_status_is_tried_again_until_the_schedule_ends(status_code: int) -> None:
    assert after(answered(status_code), 1, SCHEDULE, 0) == Decision(PENDING, retry_in=TEN)
    assert after(answered(status_code), 2, SCHEDULE, 0) == Decision(PENDING, retry_in=HUNDRED)
    assert after(answered(status_code), 3, SCHEDULE, 0) == Decision(DEAD)


@pytest.mark.parametrize("error_class", ErrorClass, ids=str)
def test_no_answer_is_tried_again_until_the_schedule_ends(error_class: ErrorClass) -> None:
    outcome = AttemptOutcome(None, error_class, timedelta(0))
    assert after(outcome, 1, SCHEDULE, 0) == Decision(PENDING, retry_in=TEN)
    assert after(outcome, 3, SCHEDULE, 0) == Decision(DEAD)


@pytest.mark.parametrize("attempts_made", [1, 3])
def test_410_ends_the_callback_at_any_attempt(attempts_made: int) -> None:
    assert after(answered(410), attempts_made, SCHEDULE, 0) == Decision(DEAD, ends_target=True)


def test_a_2xx_whose_body_never_came_is_no_success() -> None:
    outcome = AttemptOutcome(200, ErrorClass.TIMEOUT, timedelta(0))
    assert after(outcome, 1, SCHEDULE, 0) == Decision(PENDING, retry_in=TEN)


@pytest.mark.parametrize(
    ("retry_after", "jitter", "seconds"),
    [(None, 0, 10), (None, 1, 12), (5, 0, 10), (30, 0, 30), (30, 1, 30), (10**6, 0, 86400)],
)
@pytest.mark.parametrize("status_code", [302, 404, 429, 503])
def test_retry_after_is_heeded_with_any_status(
    status_code: int, retry_after: float | None, jitter: float, seconds: float
) -> None:
    asked = None if retry_after is None else timedelta(seconds=retry_after)
    assert after(answered(status_code, asked), 1, SCHEDULE, jitter).retry_in == timedelta(seconds=seconds)


def test_retry_after_does_not_lengthen_the_schedule() -> None:
    assert after(answered(503, HUNDRED), 3, SCHEDULE, 0) == Decision(DEAD)


def test_a_schedule_of_one_attempt_is_one_attempt() -> None:
    assert after(answered(500), 1, [timedelta(0)], 1) == Decision(DEAD)


@pytest.mark.parametrize(
    ("status_code", "error_class"),
    [
        (0, "http_1xx"),
        (100, "http_1xx"),
        (199, "http_1xx"),
        (200, None),
        (299, None),
        (300, "http_3xx"),
        (399, "http_3xx"),
        (400, "http_4xx"),
        (410, "http_4xx"),
        (499, "http_4xx"),
        (500, "http_5xx"),
        (599, "http_5xx"),
        (999, "http_5xx"),
    ],
)
def test_each_status_has_its_class(status_code: int, error_class: str | None) -> None:
    assert ErrorClass.of_status(status_code) == error_class


@given(
    status_code=st.none() | st.integers(0, 999),
    attempts_made=st.integers(1, 5),
    jitter=st.floats(0, 1),
    retry_after=st.none() | st.timedeltas(timedelta(0), timedelta(days=1000)),
)
def test_a_delivery_waits_for_its_next_attempt_or_has_ended(
    status_code: int | None, attempts_made: int, jitter: float, retry_after: timedelta | None
) -> None:
    error_class = ErrorClass.RESET if status_code is None else ErrorClass.of_status(status_code)
    outcome = AttemptOutcome(status_code, error_class, timedelta(0), retry_after=retry_after)
    decision = after(outcome, attempts_made, SCHEDULE, jitter)
    assert (decision.status is PENDING) == (decision.retry_in is not None)
    assert (decision.status is DELIVERED) == (status_code is not None and 200 <= status_code <= 299)
    assert decision.ends_target == (status_code == 410)
