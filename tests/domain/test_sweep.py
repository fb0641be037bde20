"""What a key's list of models says of one that is watched."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.sweep import Meaning, may_be_listed, meaning, names_enough
from service.domain.training import TERMINAL, Observation, Rules, Status, Watch, observe

MINUTE = timedelta(minutes=1)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RULES = Rules(poll_interval=5 * MINUTE, lease=MINUTE, overdue_after=35 * MINUTE, expire_after=timedelta(hours=24))
WATCH = Watch(Status.TRAINING, NOW - 10 * MINUTE, raw_status="training")

KEEP, CONFIRM = Meaning.KEEP, Meaning.CONFIRM


@pytest.mark.parametrize(
    ("said", "before", "expected"),
    [
        ("training", "training", KEEP),
        ("training", None, KEEP),
        (" Training ", "training", KEEP),
        ("training", "Warming-Up", KEEP),
        # A word of PhotoGPT's that the model itself has said is no news.
        ("Warming-Up", "Warming-Up", KEEP),
        ("Warming-Up", "training", CONFIRM),
        ("ready", "training", CONFIRM),
        ("READY", "training", CONFIRM),
        ("ready", "ready", CONFIRM),
        ("deleted", "training", CONFIRM),
        ("failed", "failed", CONFIRM),
        ("new", "new", CONFIRM),
        ("", "", CONFIRM),
        (None, "training", CONFIRM),
    ],
)
def test_what_is_said_of_a_model_that_trains(said: str | None, before: str | None, expected: Meaning) -> None:
    listed = None if said is None else Observation(said)
    assert meaning(replace(WATCH, raw_status=before), listed, NOW, RULES) is expected


@pytest.mark.parametrize(
    ("watch", "expected"),
    [
        (WATCH, True),
        (replace(WATCH, key_refused_count=2), True),
        (replace(WATCH, since=NOW - 35 * MINUTE + timedelta(microseconds=1)), True),
        (replace(WATCH, since=NOW - 35 * MINUTE), False),
        (replace(WATCH, overdue=True), False),
        (replace(WATCH, suspended=True), False),
        (replace(WATCH, not_found_count=1), False),
        *((replace(WATCH, status=status), status is Status.TRAINING) for status in Status),
    ],
)
def test_a_list_stands_in_for_a_reading_of_what_trains_in_time_and_in_order(watch: Watch, expected: bool) -> None:
    assert may_be_listed(watch, NOW, RULES) is expected
    assert meaning(watch, Observation("training"), NOW, RULES) is (KEEP if expected else CONFIRM)


words = st.sampled_from(["training", "ready", "deleted", "failed", "error", "new", "", "Ready", "queued"])
watches = st.builds(
    Watch,
    status=st.sampled_from(list(Status)),
    since=st.integers(0, 2000).map(lambda minutes: NOW - minutes * MINUTE),
    baseline=st.none() | words.map(Observation),
    raw_status=st.none() | words,
    overdue=st.booleans(),
    not_found_count=st.integers(0, 2),
    key_refused_count=st.integers(0, 2),
)


@given(watch=watches, word=words)
def test_a_list_that_is_believed_never_hides_an_end(watch: Watch, word: str) -> None:
    """Where it has nothing new, a reading that says the same would have ended nothing either, and told of nothing."""
    listed = Observation(word)
    if watch.status in TERMINAL or meaning(watch, listed, NOW, RULES) is CONFIRM:
        return
    after = observe(watch, listed, NOW, RULES)
    assert (after.status, after.overdue, after.suspended) == (watch.status, watch.overdue, watch.suspended)


@pytest.mark.parametrize(
    ("watched", "named", "enough"), [(2, 0, False), (2, 1, True), (3, 1, False), (3, 2, True), (500, 249, False)]
)
def test_a_list_that_names_fewer_than_half_is_not_the_whole_one(watched: int, named: int, enough: bool) -> None:
    assert names_enough(watched, named) is enough
