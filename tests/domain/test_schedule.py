"""When a model is polled with POLL_SCHEDULE, what that costs, and that without it nothing is different."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.domain.backoff import poll_delay
from service.domain.schedule import (
    FINE,
    check_schedule,
    first_poll,
    least_gap,
    longest_delay,
    longest_gap,
    next_poll,
    parsed_schedule,
)
from service.domain.training import (
    KeyRefused,
    ModelNotFound,
    Observation,
    Rules,
    Seen,
    Status,
    Throttled,
    Unreadable,
    Watch,
)
from tests.support.poll_costs import PAGE, cost, polls, renewed, rules_of

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
TRAINS = Observation("training")
SLIP = timedelta(microseconds=2)

JITTER = st.floats(0, 1)
GAPS = st.lists(st.integers(60, 4000), max_size=8)
AGES = st.timedeltas(timedelta(0), timedelta(days=2))
SEEN = st.sampled_from([TRAINS, ModelNotFound(), KeyRefused(), Unreadable("timeout"), Unreadable("http_5xx", HOUR)])


def seconds(*times: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(seconds=at) for at in times)


def rules_by(gaps: Sequence[int]) -> Rules:
    return rules_of(seconds(*accumulate(gaps)))


def delay(
    rules: Rules, age: timedelta, seen: Seen = TRAINS, *, jitter: float = 0, status: Status = Status.TRAINING
) -> timedelta:
    return next_poll(Watch(status, since=NOW - age), seen, NOW, rules, jitter)


class TestTheSetting:
    @pytest.mark.parametrize(
        ("text", "times"),
        [
            ("", ()),
            (" ", ()),
            ("fine", FINE),
            (" fine ", FINE),
            ("600", seconds(600)),
            ("600, 1200 ,1290.5", seconds(600, 1200, 1290.5)),
            (",".join(str(60 * at) for at in range(1, 101)), seconds(*range(60, 6001, 60))),
        ],
        ids=["unset", "blank", "fine", "fine and blanks", "one", "several", "a hundred"],
    )
    def test_is_times_or_a_word(self, text: str, times: tuple[timedelta, ...]) -> None:
        assert parsed_schedule(text) == times

    @pytest.mark.parametrize(
        "text",
        ["finest", "FINE", "600,fine", "600,", ",", "600;1200", "10m", "nan", "inf", "600,-inf", "1e99", "600 1200"],
    )
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"^must be `fine`, or 1 to 100 numbers of seconds after the trigger"):
            parsed_schedule(text)

    def test_more_than_a_hundred_times_are_refused(self) -> None:
        with pytest.raises(ValueError, match="1 to 100 numbers"):
            parsed_schedule(",".join(str(60 * at) for at in range(1, 102)))

    @pytest.mark.parametrize(
        ("times", "interval", "gap"),
        [
            ((59,), 300, "59 s between 0 s and 59 s"),
            ((0, 300), 300, "0 s between 0 s and 0 s"),
            ((-300,), 300, "-300 s between 0 s and -300 s"),
            ((600, 659.9), 300, "59.9 s between 600 s and 659.9 s"),
            ((600, 600), 300, "0 s between 600 s and 600 s"),
            ((600, 300), 300, "-300 s between 600 s and 300 s"),
            ((600, 659), 3600, "59 s between 600 s and 659 s"),
            ((0.1,), 1, "0.1 s between 0 s and 0.1 s"),
        ],
    )
    def test_polls_that_are_too_close_are_refused(self, times: tuple[float, ...], interval: float, gap: str) -> None:
        with pytest.raises(ValueError, match=re.escape(gap)) as refused:
            check_schedule(seconds(*times), interval=interval * SECOND, expire_after=24 * HOUR)
        least = min(60, interval / 5)
        assert f"at least {least:g} s apart, which is 60 s, or a fifth of GATEWAY_POLL_INTERVAL" in str(refused.value)

    @pytest.mark.parametrize(
        ("times", "interval"),
        [((), 300), ((60, 120, 180), 300), ((60,), 3600), ((0.2, 0.4), 1), ((86400,), 300), ((1, 3), 5)],
    )
    def test_what_is_far_enough_apart_is_taken(self, times: tuple[float, ...], interval: float) -> None:
        check_schedule(seconds(*times), interval=interval * SECOND, expire_after=24 * HOUR)

    @pytest.mark.parametrize("interval", [1, 60, 300, 900, 86400])
    def test_the_preset_goes_with_every_interval(self, interval: float) -> None:
        check_schedule(FINE, interval=interval * SECOND, expire_after=24 * HOUR)

    def test_no_poll_is_planned_for_after_the_end(self) -> None:
        with pytest.raises(ValueError, match="goes on to 86401 s: a watch is given up after GATEWAY_EXPIRE_AFTER"):
            check_schedule(seconds(600, 86401), interval=300 * SECOND, expire_after=24 * HOUR)


@pytest.mark.parametrize(
    ("age", "jitter", "expected"),
    [
        (0, 0, 600),
        (0, 1, 630),  # spread as usual, not by a tenth of ten minutes
        (599, 0, 601),  # early, it takes the place of the one at 600
        (600, 0, 600),
        (630, 0, 570),
        (1140, 0, 60),
        (1200, 0, 60),
        (1200, 1, 66),
        (1206, 0, 60),  # late: those behind it move
        (1229, 0, 60),  # 31 s away, which is more than half
        (1230, 0, 60),
        (1231, 0, 89),  # 29 s away: the one after it
        (1290, 0, 60),
        (1291, 0, 300),  # behind the last
        (1320, 0, 300),
        (1320, 1, 330),
        (7200, 0, 900),
    ],
)
def test_the_next_poll_by_a_schedule(age: float, jitter: float, expected: float) -> None:
    rules = rules_of(seconds(600, 1200, 1260, 1320))
    assert delay(rules, age * SECOND, jitter=jitter) == expected * SECOND


@pytest.mark.parametrize(
    ("seen", "status", "expected"),
    [
        (TRAINS, Status.TRAINING, 60),
        (Observation("queued"), Status.TRAINING, 60),
        (Unreadable("http_5xx"), Status.TRAINING, 60),
        (Unreadable("http_5xx", 400 * SECOND), Status.TRAINING, 400),
        (ModelNotFound(), Status.TRAINING, 300),
        (KeyRefused(), Status.TRAINING, 300),
        (Throttled(), Status.TRAINING, 300),
        (Throttled(400 * SECOND), Status.TRAINING, 400),
        (Observation("new"), Status.SUBMITTING, 300),
        (Unreadable("http_5xx"), Status.SUBMITTING, 300),
    ],
    ids=str,
)
def test_what_counts_three_times_in_a_row_keeps_to_the_interval(seen: Seen, status: Status, expected: float) -> None:
    assert delay(rules_of(seconds(600, 1200, 1260)), 1200 * SECOND, seen, status=status) == expected * SECOND


def test_a_trigger_that_seems_to_lie_ahead_is_one_of_now() -> None:
    """The wall clock was put back."""
    assert delay(rules_of(seconds(600)), -10 * HOUR) == 600 * SECOND
    assert delay(rules_of(()), -10 * HOUR) == 300 * SECOND


@given(jitter=JITTER, age=AGES, seen=SEEN)
def test_without_a_schedule_it_is_every_interval(jitter: float, age: timedelta, seen: Seen) -> None:
    rules = rules_of(())
    asked = seen.retry_after if isinstance(seen, Unreadable) else None
    assert delay(rules, age, seen, jitter=jitter) == poll_delay(5 * MINUTE, age, jitter, asked)
    assert first_poll(rules, jitter) == poll_delay(5 * MINUTE, timedelta(0), jitter, None)
    assert (least_gap(rules), longest_gap(rules)) == (5 * MINUTE, 5.5 * MINUTE)


@given(gaps=GAPS, jitter=JITTER, age=AGES, seen=SEEN)
def test_no_poll_is_planned_closer_than_the_least_gap_or_later_than_the_longest(
    gaps: list[int], jitter: float, age: timedelta, seen: Seen
) -> None:
    rules = rules_by(gaps)
    planned = delay(rules, age, seen, jitter=jitter)
    assert least_gap(rules) == min([300, *gaps]) * SECOND
    assert least_gap(rules) <= planned <= longest_delay(rules) + SLIP
    assert first_poll(rules, jitter) <= longest_gap(rules) + SLIP
    if seen == TRAINS and age < 2 * HOUR:
        assert planned <= longest_gap(rules) + SLIP


@given(gaps=GAPS, jitter=JITTER, age=AGES)
def test_a_poll_in_time_is_followed_by_the_next_of_the_times_and_no_time_is_met_before(
    gaps: list[int], jitter: float, age: timedelta
) -> None:
    rules = rules_by(gaps)
    assume(rules.poll_times)
    times = (timedelta(0), *rules.poll_times)
    for earlier, later in pairwise(times):
        assert later <= earlier + delay(rules, earlier, jitter=jitter) <= later + 30 * SECOND
    # Wherever it is: what is planned is not before the first time that is still to come, or after an interval.
    ahead = [at for at in rules.poll_times if at - age >= least_gap(rules) / 2]
    assert age + delay(rules, age, jitter=jitter) >= (ahead[0] if ahead else age + 5 * MINUTE)


@given(gaps=GAPS, seed=st.integers(0, 1000), end=st.floats(1, 10_000))
def test_a_schedule_makes_no_more_polls_than_it_has_times(gaps: list[int], seed: int, end: float) -> None:
    rules = rules_by(gaps)
    made = polls(rules, end, random.Random(seed))
    in_time = [at for at in made if at < sum(gaps) - least_gap(rules).total_seconds() / 2]
    assert len(in_time) <= len(gaps)
    assert all(later - earlier >= min([300, *gaps]) - 0.001 for earlier, later in pairwise([0, *made]))


class TestFine:
    def test_costs_no_more_and_tells_sooner_where_photogpt_keeps_its_word(self) -> None:
        every, fine = cost((), 1200, 1500), cost(FINE, 1200, 1500)
        assert fine.calls <= every.calls
        assert fine.delay < every.delay / 3
        assert fine.longest_delay < 90 < every.longest_delay

    def test_costs_as_much_where_it_is_somewhat_wrong(self) -> None:
        every, fine = cost((), 1080, 1680), cost(FINE, 1080, 1680)
        assert fine.calls <= 1.01 * every.calls
        assert fine.delay < every.delay / 3

    @given(end=st.floats(1200, 1680), seed=st.integers(0, 1000))
    def test_no_end_between_20_and_28_minutes_is_seen_late(self, end: float, seed: int) -> None:
        assert polls(rules_of(FINE), end, random.Random(seed))[-1] - end <= 150

    def test_the_page_shows_what_it_costs(self) -> None:
        page = PAGE.read_text(encoding="utf-8")
        assert page == renewed(page), f"{PAGE.name} shows other costs: run `python -m tests.support.poll_costs`"

    def test_the_page_names_its_times(self) -> None:
        [sentence] = re.findall(r"`fine` is ([^.]*)\.", PAGE.read_text(encoding="utf-8"))
        shown = [int(minute) * 60 + int(second) for minute, second in re.findall(r"(\d+):(\d+)", sentence)]
        assert seconds(*shown) == FINE
