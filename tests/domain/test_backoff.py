"""When the next poll and the next attempt are due, and what a `Retry-After` asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.backoff import (
    key_pause,
    longest_poll_delay,
    longest_retry_delay,
    parse_retry_after,
    poll_delay,
    retry_delay,
)

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
INTERVAL = 5 * MINUTE
# The default of GATEWAY_RETRY_SCHEDULE: the table of Standard Webhooks.
SCHEDULE = [timedelta(seconds=step) for step in (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)]
NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)

JITTER = st.floats(0, 1)
SPANS = st.timedeltas(timedelta(0), timedelta(days=40))


@pytest.mark.parametrize(
    ("interval", "watched_for", "jitter", "retry_after", "seconds"),
    [
        (INTERVAL, timedelta(0), 0, None, 300),
        (INTERVAL, timedelta(0), 0.5, None, 315),
        (INTERVAL, timedelta(0), 1, None, 330),
        (INTERVAL, 119 * MINUTE, 0, None, 300),
        (INTERVAL, 2 * HOUR, 0, None, 900),
        (INTERVAL, 23 * HOUR, 1, None, 990),
        (10 * MINUTE, 239 * MINUTE, 0, None, 600),
        (10 * MINUTE, 4 * HOUR, 0, None, 1800),
        (timedelta(seconds=1), 119 * MINUTE, 0, None, 1),
        (timedelta(seconds=1), 2 * HOUR, 0, None, 3),
        (INTERVAL, timedelta(0), 0, timedelta(0), 300),
        (INTERVAL, timedelta(0), 0, MINUTE, 300),
        (INTERVAL, timedelta(0), 1, 6 * MINUTE, 360),
        (INTERVAL, timedelta(0), 0, HOUR, 3600),
        (INTERVAL, timedelta(0), 0, 5 * HOUR, 3600),
        (INTERVAL, 2 * HOUR, 0, 10 * MINUTE, 900),
        (2 * HOUR, timedelta(0), 0, 5 * HOUR, 7200),
    ],
    ids=[
        "an interval",
        "spread by half",
        "spread by a tenth at most",
        "every interval for two hours",
        "every third from two hours on",
        "every third to the end",
        "24 intervals of ten minutes are longer",
        "every third from four hours on",
        "a short interval is no reason to thin out early",
        "a short interval thins out too",
        "asked for nothing",
        "asked for less than an interval",
        "asked for more",
        "asked for an hour",
        "asked for too long",
        "asked for less than the thinned interval",
        "an interval longer than what may be asked",
    ],
)
def test_the_next_poll(
    interval: timedelta, watched_for: timedelta, jitter: float, retry_after: timedelta | None, seconds: float
) -> None:
    assert poll_delay(interval, watched_for, jitter, retry_after) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("attempts_made", "jitter", "retry_after", "seconds"),
    [
        (0, 0, None, 0),
        (0, 1, None, 0),
        (1, 0, None, 5),
        (1, 1, None, 6),
        (2, 0.5, None, 330),
        (9, 0, None, 86400),
        (9, 1, None, 103680),
        (10, 0, None, None),
        (11, 0, None, None),
        (1, 0, timedelta(0), 5),
        (1, 0, timedelta(seconds=3), 5),
        (1, 0, MINUTE, 60),
        (1, 1, MINUTE, 60),
        (1, 0, 24 * HOUR, 86400),
        (1, 0, 240 * HOUR, 86400),
        (9, 1, 240 * HOUR, 103680),
        (10, 0, MINUTE, None),
    ],
)
def test_the_next_attempt(
    attempts_made: int, jitter: float, retry_after: timedelta | None, seconds: float | None
) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert retry_delay(SCHEDULE, attempts_made, jitter, retry_after) == expected


@given(interval=SPANS, watched_for=SPANS, jitter=JITTER, asked=st.none() | SPANS)
def test_a_poll_is_never_early(
    interval: timedelta, watched_for: timedelta, jitter: float, asked: timedelta | None
) -> None:
    delay = poll_delay(interval, watched_for, jitter, asked)
    assert delay >= interval
    assert delay >= min(asked or timedelta(0), HOUR)
    assert delay >= poll_delay(interval, watched_for, 0, asked)


@pytest.mark.parametrize(
    ("interval", "retry_after", "pause"),
    [
        (INTERVAL, None, INTERVAL),
        (INTERVAL, timedelta(0), INTERVAL),
        (INTERVAL, MINUTE, INTERVAL),
        (INTERVAL, 6 * MINUTE, 6 * MINUTE),
        (INTERVAL, HOUR, HOUR),
        (INTERVAL, timedelta(days=30), HOUR),
        (2 * HOUR, 30 * MINUTE, 2 * HOUR),
        (timedelta(seconds=1), timedelta(seconds=7), timedelta(seconds=7)),
    ],
    ids=str,
)
def test_how_long_a_key_waits_after_429(interval: timedelta, retry_after: timedelta | None, pause: timedelta) -> None:
    assert key_pause(interval, retry_after) == pause


@given(interval=SPANS, retry_after=st.none() | SPANS)
def test_a_key_waits_an_interval_at_least_and_an_hour_at_most_or_its_interval(
    interval: timedelta, retry_after: timedelta | None
) -> None:
    pause = key_pause(interval, retry_after)
    assert interval <= pause <= max(interval, HOUR)
    assert retry_after is None or pause >= min(retry_after, HOUR)


@given(interval=SPANS, watched_for=SPANS, jitter=JITTER, retry_after=st.none() | SPANS)
def test_no_poll_and_no_pause_is_later_than_a_clock_that_was_put_back_is_mended_to(
    interval: timedelta, watched_for: timedelta, jitter: float, retry_after: timedelta | None
) -> None:
    longest = longest_poll_delay(interval)
    assert poll_delay(interval, watched_for, jitter, retry_after) <= longest + timedelta(microseconds=1)
    assert key_pause(interval, retry_after) <= longest


@given(step=SPANS, jitter=JITTER)
def test_no_attempt_is_later_than_the_longest_wait_of_its_step(step: timedelta, jitter: float) -> None:
    delay = retry_delay([step], 0, jitter, None)
    assert delay is not None
    assert delay <= longest_retry_delay(step) + timedelta(microseconds=1)


@given(schedule=st.lists(SPANS, max_size=5), attempts=st.integers(0, 6), jitter=JITTER, asked=st.none() | SPANS)
def test_an_attempt_is_never_early(
    schedule: list[timedelta], attempts: int, jitter: float, asked: timedelta | None
) -> None:
    delay = retry_delay(schedule, attempts, jitter, asked)
    if delay is None:
        assert attempts >= len(schedule)
    else:
        assert delay >= schedule[attempts]
        assert delay >= min(asked or timedelta(0), 24 * HOUR)


@given(jitters=st.lists(JITTER, min_size=10, max_size=10))
def test_the_last_attempt_comes_after_an_outage_of_three_days(jitters: list[float]) -> None:
    delays = [retry_delay(SCHEDULE, made, jitter, None) for made, jitter in enumerate(jitters)]
    *_, last = accumulate(delay for delay in delays if delay is not None)
    assert last >= 72 * HOUR


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("1", 1),
        ("120", 120),
        (" 120\t", 120),
        ("0000000000000000000120", 120),
        ("999999999", 999_999_999),
        ("Tue, 01 Jan 2030 12:02:00 GMT", 120),
        ("Tue, 01 Jan 2030 12:02:00 UTC", 120),
        ("Tue, 01 Jan 2030 13:02:00 +0100", 120),
        ("Tue, 01 Jan 2030 12:02:00 -0000", 120),
        ("Tue, 01 Jan 2030 12:02:00", 120),
        ("Tuesday, 01-Jan-30 12:02:00 GMT", 120),
        ("Tue Jan  1 12:02:00 2030", 120),
        ("  Tue, 01 Jan 2030 12:02:00 GMT  ", 120),
        ("Tue, 01 Jan 2030 11:59:59 GMT", 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Tue, 01 Jan 0001 00:00:00 +2359", 0),
    ],
    ids=repr,
)
def test_both_forms_of_retry_after_are_understood(value: str, seconds: int) -> None:
    assert parse_retry_after(value, NOW) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "soon",
        "-1",
        "+5",
        "1.5",
        "1e3",
        "0x10",
        "5 s",
        "5, 6",
        "\u0665",
        "\u00b2",
        "\uff15",
        "inf",
        "nan",
        "\x00",
        "\ud800",
        ",,,,",
        "GMT",
        "21 Oct",
        "Tue, 32 Jan 2030 12:00:00 GMT",
        "Tue, 01 Jan 2030 25:00:00 GMT",
        "Tue, 01 Jan 99999 00:00:00 GMT",
        "Tue, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Tue, 01 Jan 2030 99999999999999999999:00:00 GMT",
        "Tue, 01 Jan 2030 12:00:00 +99999999999999999999",
        "Tue, 01 Jan 2030 12:00:00 +9999",
        "x" * 10_000,
    ],
    ids=lambda value: repr(value)[:60],
)
def test_nonsense_counts_as_absent(value: str | None) -> None:
    assert parse_retry_after(value, NOW) is None


@pytest.mark.parametrize("digits", [10, 100, 5000])
def test_more_seconds_than_there_is_time_are_as_good_as_for_ever(digits: int) -> None:
    asked = parse_retry_after("9" * digits, NOW)
    assert asked is not None
    assert asked > timedelta(days=365)


DATE_LIKE = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Tue", "Xyz", ""]),
    st.integers(-1, 40),
    st.sampled_from(["Jan", "Feb", "Oct", "13"]),
    st.integers(-1, 10**25),
    st.integers(-1, 99),
    st.integers(-1, 99),
    st.integers(-1, 10**25),
    st.sampled_from(["GMT", "", "EST", "+9959", "-0000"]) | st.integers(-(10**25), 10**25).map(str),
)


@given(value=DATE_LIKE | st.text(st.characters(exclude_categories=())) | st.text("0123456789 ,:+-GMT"))
def test_no_retry_after_is_too_odd(value: str) -> None:
    asked = parse_retry_after(value, NOW)
    assert asked is None or asked >= timedelta(0)


@given(when=st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_date_is_never_undercut(when: datetime) -> None:
    whole = when.replace(microsecond=0)
    assert parse_retry_after(format_datetime(whole, usegmt=True), NOW) == max(whole - NOW, timedelta(0))


@given(seconds=st.integers(0, 10**12))
def test_seconds_are_never_undercut(seconds: int) -> None:
    asked = parse_retry_after(str(seconds), NOW)
    assert asked is not None
    assert asked >= timedelta(seconds=min(seconds, 86400))
