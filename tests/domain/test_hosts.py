"""One receiver's host: how many attempts at once, its rest when it asks for one, its breaker, and what is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.delivery import AttemptOutcome, ErrorClass
from service.domain.hosts import RECOVERING, Host, Hosts

MOST = 8
PROBE_EVERY = 30.0
THROTTLES = (429, 502, 503, 504)
OURS = (ErrorClass.BLOCKED, ErrorClass.INTERRUPTED, ErrorClass.UNSIGNED)
NO_ANSWER = (
    ErrorClass.DNS,
    ErrorClass.REFUSED,
    ErrorClass.RESET,
    ErrorClass.TLS,
    ErrorClass.TIMEOUT,
    ErrorClass.PROTOCOL,
    ErrorClass.CONNECT,
)


def answered(status_code: int, asked: float | None = None) -> AttemptOutcome:
    retry_after = None if asked is None else timedelta(seconds=asked)
    return AttemptOutcome(
        status_code, ErrorClass.of_status(status_code), timedelta(seconds=0.1), retry_after=retry_after
    )


def unanswered(error_class: ErrorClass = ErrorClass.TIMEOUT) -> AttemptOutcome:
    return AttemptOutcome(None, error_class, timedelta(seconds=15))


def attempt(host: Host, outcome: AttemptOutcome | None, now: float = 0) -> None:
    host.started(now)
    host.ended(outcome, now)


def proven(most: int = MOST) -> Host:
    host = Host(most)
    for _ in range(most):
        attempt(host, answered(204))
    return host


def dead(at: float = 0) -> Host:
    """Its breaker has just opened."""
    host = Host(MOST)
    for _ in range(5):
        attempt(host, unanswered(), at)
    return host


def state(host: Host) -> tuple[object, ...]:
    breaker = host.breaker
    return host.in_flight, host.successes, host.throttles, host.rests_until, breaker.failures, breaker.probe_at


# --- the bulkhead ---


@pytest.mark.parametrize(("most", "new"), [(1, 1), (3, 3), (4, 4), (5, 4), (8, 4), (100, 4)])
def test_a_new_host_has_four_at_once_and_the_full_share_after_as_many_successes(most: int, new: int) -> None:
    host = Host(most)
    for _ in range(most):
        assert host.room(0) == new
        attempt(host, answered(200))
    assert host.room(0) == most


def test_each_attempt_under_way_takes_a_place_and_gives_it_back() -> None:
    host, rooms = proven(), []
    for _ in range(MOST + 1):
        rooms.append(host.room(0))
        host.started(0)
    assert rooms == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    for _ in range(MOST + 1):
        host.ended(answered(204), 0)
    assert (host.room(0), host.in_flight) == (8, 0)


def test_with_more_under_way_than_it_may_have_by_now_there_is_no_room_and_not_less() -> None:
    host = proven()
    for _ in range(MOST):
        host.started(0)
    host.ended(unanswered(), 0)
    assert (host.in_flight, host.limit, host.room(0)) == (7, 4, 0)


@pytest.mark.parametrize(
    ("outcome", "limit"),
    [
        (answered(200), 8),
        (answered(301), 8),
        (answered(404), 8),
        (answered(410), 8),
        (answered(500), 8),
        *((answered(status), 4) for status in THROTTLES),
        *((unanswered(error_class), 4) for error_class in NO_ANSWER),
        *((unanswered(error_class), 8) for error_class in OURS),
        (None, 8),
    ],
    ids=str,
)
def test_what_makes_a_proven_host_prove_itself_anew(outcome: AttemptOutcome | None, limit: int) -> None:
    host = proven()
    attempt(host, outcome)
    assert host.limit == limit


@pytest.mark.parametrize("status", [302, 404, 410, 500, 501, 505, 599])
def test_answers_that_are_no_success_prove_nothing(status: int) -> None:
    host = Host(MOST)
    for _ in range(100):
        attempt(host, answered(status))
    assert host.room(0) == RECOVERING


# --- what says something about us alone ---


@pytest.mark.parametrize("host", [Host(MOST), proven(), dead()], ids=["new", "proven", "dead"])
@pytest.mark.parametrize("outcome", [None, *(unanswered(error_class) for error_class in OURS)], ids=str)
def test_what_is_our_own_fault_changes_nothing(host: Host, outcome: AttemptOutcome | None) -> None:
    before = state(host)
    for _ in range(100):
        attempt(host, outcome)
    assert state(host) == before


# --- rest ---


@pytest.mark.parametrize("status", THROTTLES)
@pytest.mark.parametrize(
    ("asked", "rest"),
    [(None, 1), (0, 1), (0.5, 1), (1, 1), (7, 7), (59.5, 59.5), (60, 60), (61, 60), (86_400, 60), (10**9, 60)],
)
def test_a_host_rests_as_long_as_it_asks_up_to_a_minute(status: int, asked: float | None, rest: float) -> None:
    host = proven()
    attempt(host, answered(status, asked), 100)
    assert [host.room(at) for at in (100, 100 + rest - 0.01)] == [0, 0]
    assert host.room(100 + rest) == RECOVERING


@pytest.mark.parametrize("status", [200, 302, 400, 404, 408, 410, 425, 500, 501, 505, 520])
def test_no_other_answer_is_asking_for_rest_whatever_it_says(status: int) -> None:
    host = proven()
    attempt(host, answered(status, 30))
    assert host.room(0) == MOST


def test_each_rest_is_twice_as_long_as_the_one_before_and_a_minute_at_most() -> None:
    host, now, rests = Host(MOST), 0.0, []
    for _ in range(9):
        attempt(host, answered(503), now)
        rests.append(host.rests_until - now)
        now = host.rests_until
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    attempt(host, answered(204), now)
    attempt(host, answered(503), now)
    assert host.rests_until - now == 1


def test_what_was_under_way_when_a_rest_began_counts_as_one_with_it() -> None:
    host = proven()
    for _ in range(MOST):
        host.started(0)
    for ended_at in (0, 0, 0.1, 0.2, 0.3, 0.4, 0.5):
        host.ended(answered(503), ended_at)
    assert (host.throttles, host.rests_until) == (1, 1.5)
    host.ended(answered(204), 0.6)
    assert host.room(1.4) == 0
    attempt(host, answered(503), 1.5)
    assert host.rests_until == 3.5


def test_an_answer_that_asks_for_less_does_not_shorten_a_rest() -> None:
    host = proven()
    host.started(0)
    host.started(0)
    host.ended(answered(429, 50), 0)
    host.ended(answered(429, 2), 1)
    assert host.room(49.9) == 0
    assert host.room(50) == RECOVERING


# --- the breaker ---


@pytest.mark.parametrize("error_class", NO_ANSWER, ids=str)
def test_five_attempts_in_a_row_without_an_answer_open_the_breaker(error_class: ErrorClass) -> None:
    host = proven()
    for _ in range(4):
        attempt(host, unanswered(error_class))
    assert host.room(0) == RECOVERING
    attempt(host, unanswered(error_class))
    assert [host.room(at) for at in (0, 29.9, 30, 1000)] == [0, 0, 1, 1]


def test_only_one_probe_is_under_way_and_the_next_begins_30_seconds_after_it_at_the_earliest() -> None:
    host = dead()
    host.started(30)
    assert [host.room(at) for at in (30, 59.9, 60, 1000)] == [0, 0, 0, 0]
    host.ended(unanswered(), 45)
    assert [host.room(at) for at in (45, 59.9, 60)] == [0, 0, 1]


def test_no_probe_begins_while_older_attempts_are_under_way() -> None:
    host = proven()
    for _ in range(6):
        host.started(0)
    for _ in range(5):
        host.ended(unanswered(), 15)
    assert host.room(1000) == 0
    host.ended(unanswered(), 1000)
    assert host.room(1000) == 1


@pytest.mark.parametrize("status", [200, 302, 404, 410, 500])
def test_any_answer_closes_the_breaker_and_the_host_recovers(status: int) -> None:
    host = dead()
    attempt(host, answered(status), 30)
    assert host.room(30) == RECOVERING


@pytest.mark.parametrize("status", THROTTLES)
def test_an_answer_that_asks_for_rest_closes_the_breaker_too(status: int) -> None:
    host = dead()
    attempt(host, answered(status, 5), 30)
    assert [host.room(at) for at in (30, 34.9, 35)] == [0, 0, RECOVERING]


@pytest.mark.parametrize("outcome", [None, unanswered(ErrorClass.BLOCKED)], ids=["never made", "blocked"])
def test_a_probe_that_was_none_leaves_the_breaker_open(outcome: AttemptOutcome | None) -> None:
    host = dead()
    attempt(host, outcome, 30)
    assert [host.room(at) for at in (30, 59.9, 60)] == [0, 0, 1]


# --- whatever happens ---

OUTCOMES = st.one_of(
    st.none(),
    st.sampled_from([200, 204, 302, 404, 410, 500]).map(answered),
    st.builds(answered, st.sampled_from(THROTTLES), st.none() | st.floats(0, 1000)),
    st.sampled_from([*NO_ANSWER, *OURS]).map(unanswered),
)
STEPS = st.lists(st.tuples(st.floats(0, 20), st.none() | OUTCOMES.map(lambda outcome: [outcome])), max_size=120)


@given(most=st.integers(1, 12), steps=STEPS)
def test_who_starts_only_where_there_is_room_keeps_every_limit(
    most: int, steps: Sequence[tuple[float, list[AttemptOutcome | None] | None]]
) -> None:
    """Against a model of its own: a step starts all that fits, or ends the oldest attempt with an outcome."""
    host, now, in_flight, unanswered_in_a_row, in_a_row = Host(most), 0.0, 0, 0, 0
    asked_until, last_probe = 0.0, -1000.0
    for seconds, ended in steps:
        now += seconds
        if ended is None:
            room = host.room(now)
            assert room >= 0
            assert room == 0 or now >= asked_until
            assert in_flight + room <= max(in_flight, most if in_a_row >= most else min(4, most))
            if unanswered_in_a_row >= 5 and room:
                assert (room, in_flight) == (1, 0)
                assert now - last_probe >= PROBE_EVERY * 0.999
                last_probe = now
            for _ in range(room):
                host.started(now)
            in_flight += room
        elif in_flight:
            [outcome] = ended
            host.ended(outcome, now)
            in_flight -= 1
            if outcome is None or outcome.error_class in OURS:
                continue
            if outcome.status_code is None:
                unanswered_in_a_row, in_a_row = unanswered_in_a_row + 1, 0
                last_probe = now if unanswered_in_a_row == 5 else last_probe
            else:
                unanswered_in_a_row = 0
                in_a_row += outcome.status_code in (200, 204)
                if outcome.status_code in THROTTLES:
                    in_a_row = 0
                    asked = outcome.retry_after.total_seconds() if outcome.retry_after else 0
                    asked_until = max(asked_until, now + min(60, asked))
        assert host.in_flight == in_flight >= 0
        assert host.rests_until <= now + 60


@given(most=st.integers(1, 12), outcomes=st.lists(OUTCOMES, max_size=60))
def test_no_host_is_ever_shut_out_for_longer_than_a_minute(
    most: int, outcomes: Sequence[AttemptOutcome | None]
) -> None:
    host, now = Host(most), 0.0
    for outcome in outcomes:
        assert host.room(now + 60) > 0
        now += 0 if host.room(now) else 60
        attempt(host, outcome, now)
    for _ in range(most):
        now += 60
        attempt(host, answered(204), now)
    assert host.room(now) == most


# --- all hosts together ---


def test_hosts_are_apart() -> None:
    hosts = Hosts(MOST)
    for _ in range(5):
        hosts.started("dead.example:443", 0)
        hosts.ended("dead.example:443", unanswered(), 0)
    hosts.started("resting.example:443", 0)
    hosts.ended("resting.example:443", answered(429, 60), 0)
    hosts.started("busy.example:443", 0)
    assert hosts.rooms(0) == {"dead.example:443": 0, "resting.example:443": 0, "busy.example:443": 3}
    assert hosts.rooms(60) == {"dead.example:443": 1, "resting.example:443": 4, "busy.example:443": 3}
    assert list(hosts.unavailable()) == ["dead.example:443"]


@pytest.mark.parametrize(("most", "room"), [(1, 1), (4, 4), (8, 4)])
def test_what_is_not_known_has_the_room_of_a_new_host(most: int, room: int) -> None:
    hosts = Hosts(most)
    assert (hosts.rooms(0), hosts.room_of_others) == ({}, room)
    hosts.started("new.example:443", 0)
    assert hosts.rooms(0) == {"new.example:443": room - 1}


def test_it_is_crowded_while_an_end_would_make_room_that_is_not_there_now() -> None:
    hosts = Hosts(MOST)
    assert not hosts.crowded(0)
    for started in range(1, 5):
        hosts.started("a:1", 0)
        assert hosts.crowded(0) == (started == 4)
    hosts.ended("a:1", answered(204), 0)
    assert not hosts.crowded(0)


def test_a_probe_under_way_makes_it_crowded_since_its_end_may_close_the_breaker() -> None:
    hosts = Hosts(MOST)
    for _ in range(5):
        hosts.started("a:1", 0)
        hosts.ended("a:1", unanswered(), 0)
    assert not hosts.crowded(30)
    hosts.started("a:1", 30)
    assert hosts.crowded(30)


def test_of_ten_thousand_hosts_those_with_attempts_under_way_or_a_rest_are_kept_and_dead_ones_longest() -> None:
    hosts = Hosts(MOST)
    for _ in range(5):
        hosts.started("dead:1", 0)
        hosts.ended("dead:1", unanswered(), 0)
    hosts.started("resting:1", 0)
    hosts.ended("resting:1", answered(503, 60), 0)
    for number in range(100):
        hosts.started(f"busy-{number}:1", 0)
    for number in range(9_898):
        hosts.started(f"idle-{number}:1", 0)
        hosts.ended(f"idle-{number}:1", answered(204), 0)
    assert len(hosts.rooms(0)) == 10_000
    hosts.started("one-more:1", 0)
    assert len(hosts.rooms(0)) == 10_001
    hosts.ended("one-more:1", answered(204), 0)
    left = hosts.rooms(0)
    assert len(left) == 5001
    assert {"dead:1", "resting:1", *(f"busy-{number}:1" for number in range(100))} <= left.keys()
    for number in range(100):
        hosts.ended(f"busy-{number}:1", answered(204), 0)


def test_what_is_under_way_is_not_forgotten_however_much_it_is() -> None:
    hosts = Hosts(MOST)
    for number in range(10_002):
        hosts.started(f"busy-{number}:1", 0)
    hosts.ended("busy-0:1", None, 0)
    assert len(hosts.rooms(0)) == 10_001
    hosts.ended("busy-1:1", None, 0)
    assert len(hosts.rooms(0)) == 10_000
