"""When the first of a queue is tried, and when one has waited too long."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.queue import longest_pause, pause_after, soonest_try, waited
from service.domain.training import QueueRules, Status, Watch
from tests.support.clock import START

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
RULES = QueueRules(pause=MINUTE, expire_after=timedelta(hours=24))
QUEUED = Watch(Status.QUEUED, START)

durations = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=10))
pauses = st.timedeltas(min_value=timedelta(milliseconds=1), max_value=HOUR)


@pytest.mark.parametrize(
    ("tries", "minutes"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 15), (6, 15), (7, 15), (100, 15), (10**9, 15)]
)
def test_the_pause_grows_with_each_try_in_vain(tries: int, minutes: int) -> None:
    assert pause_after(tries, RULES) == minutes * MINUTE


@pytest.mark.parametrize(
    ("tries", "asked", "minutes"),
    [
        (1, timedelta(0), 1),
        (1, timedelta(seconds=59), 1),
        (1, 3 * MINUTE, 3),
        (4, 3 * MINUTE, 8),
        (1, HOUR, 60),
        (1, 99 * HOUR, 60),
    ],
)
def test_photogpt_may_ask_for_a_longer_pause_of_an_hour_at_most(tries: int, asked: timedelta, minutes: int) -> None:
    assert pause_after(tries, RULES, asked) == minutes * MINUTE


@given(st.integers(1, 1000), pauses, st.none() | durations)
def test_no_pause_is_shorter_than_the_least_or_longer_than_the_longest(
    tries: int, pause: timedelta, asked: timedelta | None
) -> None:
    rules = QueueRules(pause=pause)
    assert pause <= pause_after(tries, rules, asked) <= longest_pause(rules)
    assert pause_after(tries, rules, asked) <= pause_after(tries + 1, rules, asked)


def test_what_was_never_tried_may_be_tried_now() -> None:
    assert soonest_try(START, None, RULES) == START


@given(durations, durations)
def test_two_tries_are_a_least_pause_apart(first: timedelta, later: timedelta) -> None:
    tried = START + first
    now = tried + later
    soonest = soonest_try(now, tried, RULES)
    assert soonest >= now
    assert soonest - tried >= MINUTE
    assert soonest in (now, tried + MINUTE)


def looked_at(watch: Watch, *hours: float) -> Watch:
    for hour in hours:
        watch = waited(watch, START, START + hour * HOUR, RULES)
    return watch


@pytest.mark.parametrize(
    ("hours", "status"),
    [
        ([0, 1, 23.99, 23.999], "queued"),
        ([24], "queued"),
        ([1, 100_000], "queued"),
        ([24, 24.01], "rejected"),
        ([30, 1, 30], "queued"),
        ([30, 1, 30, 30], "rejected"),
    ],
)
def test_it_is_rejected_when_two_turns_in_a_row_find_it_too_old(hours: list[float], status: str) -> None:
    watch = QUEUED
    for hour in hours:
        assert watch.status is Status.QUEUED, "it had ended before"
        watch = looked_at(watch, hour)
    assert watch.status == status
    assert (watch.failure.code if watch.failure else None) == ("queue_expired" if status == "rejected" else None)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 30)))  # noqa: DTZ001  # only differences count
def test_a_look_changes_nothing_else(at: datetime) -> None:
    watch = replace(QUEUED, key_refused_count=2, raw_status="new")
    now = at.replace(tzinfo=START.tzinfo)
    after = waited(watch, START, now, RULES)
    assert replace(after, expiring=False) == watch
    assert after.expiring == (now - START >= RULES.expire_after)
