"""What a poll makes of a training. Time is told in minutes since the trigger; the rules are those of DESIGN 4."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.training import (
    TERMINAL,
    TRANSITIONS,
    Failure,
    KeyRefused,
    ModelNotFound,
    Observation,
    Rules,
    Seen,
    Signal,
    Status,
    Throttled,
    Unreadable,
    Watch,
    is_known,
    observe,
)
from tests.support.clock import START

RULES = Rules(
    poll_interval=timedelta(minutes=5),
    lease=timedelta(seconds=60),
    overdue_after=timedelta(minutes=35),
    expire_after=timedelta(hours=24),
)
TRAINING = Watch(Status.TRAINING, START)
SUBMITTING = Watch(Status.SUBMITTING, START)

NOT_FOUND, REFUSED, UNREADABLE = ModelNotFound(), KeyRefused(), Unreadable("timeout")


def says(raw_status: str, updated_at: str | None = "u1") -> Observation:
    return Observation(raw_status, updated_at)


def polled(watch: Watch, *seen: Seen, every: float = 1) -> Watch:
    """The watch after readings that are `every` minutes apart; by default they are over long before anything ages."""
    for number, reading in enumerate(seen, start=1):
        watch = polled_at(every * number, watch, reading)
    return watch


def polled_at(minute: float, watch: Watch, seen: Seen) -> Watch:
    return observe(watch, seen, START + timedelta(minutes=minute), RULES)


MOVES = {
    ("queued", "TURN"): "submitting",
    ("queued", "REFUSED"): "rejected",
    ("queued", "WAITED_TOO_LONG"): "rejected",
    ("queued", "STOPPED"): "cancelled",
    ("submitting", "NO_ROOM"): "queued",
    ("submitting", "CONFIRMED"): "training",
    ("submitting", "REFUSED"): "rejected",
    ("submitting", "UNCONFIRMED"): "failed",
    ("submitting", "SEEN_READY"): "ready",
    ("submitting", "SEEN_DELETED"): "deleted",
    ("submitting", "SEEN_FAILED"): "failed",
    ("submitting", "WATCHED_TOO_LONG"): "expired",
    ("submitting", "STOPPED"): "cancelled",
    ("training", "SEEN_READY"): "ready",
    ("training", "SEEN_DELETED"): "deleted",
    ("training", "SEEN_FAILED"): "failed",
    ("training", "WATCHED_TOO_LONG"): "expired",
    ("training", "STOPPED"): "cancelled",
}


@pytest.mark.parametrize("signal", Signal, ids=lambda signal: signal.name)
@pytest.mark.parametrize("status", Status, ids=lambda status: status.value)
def test_a_signal_moves_a_training_as_the_table_says_or_is_an_error(status: Status, signal: Signal) -> None:
    expected = MOVES.get((status.value, signal.name))
    if expected is None:
        with pytest.raises(KeyError):
            Watch(status, START).move(signal)
    else:
        assert Watch(status, START).move(signal).status == expected


def test_six_statuses_are_the_end() -> None:
    assert set(TERMINAL) == {"ready", "deleted", "rejected", "failed", "expired", "cancelled"}


def test_a_move_keeps_the_rest_and_says_why() -> None:
    watch = replace(TRAINING, raw_status="odd", overdue=True, readings=7, failure=Failure("old", "Old."))
    why = Failure("code", "Words.")
    assert watch.move(Signal.SEEN_FAILED, why) == replace(watch, status=Status.FAILED, failure=why)
    assert watch.move(Signal.STOPPED).failure is None


class TestWords:
    @pytest.mark.parametrize(
        ("word", "status"),
        [
            ("ready", "ready"),
            ("READY", "ready"),
            (" Ready\n", "ready"),
            ("\tready\u00a0", "ready"),
            ("deleted", "deleted"),
            ("Deleted ", "deleted"),
            ("failed", "failed"),
            ("FAILED", "failed"),
            ("error", "failed"),
            (" Error", "failed"),
            ("training", "training"),
            ("Training", "training"),
            ("new", "training"),
            ("", "training"),
            (" ", "training"),
            ("queued", "training"),
            ("created", "training"),
            ("running", "training"),
            ("success", "training"),
            ("completed", "training"),
            ("done", "training"),
            ("active", "training"),
            ("trained", "training"),
            ("cancelled", "training"),
            ("failure", "training"),
            ("errored", "training"),
            ("removed", "training"),
            ("delete", "training"),
            ("not ready", "training"),
            ("ready!", "training"),
            ("re ady", "training"),
            ("ready,deleted", "training"),
            ("\uff52\uff45\uff41\uff44\uff59", "training"),
            ("re\u0430dy", "training"),
            ("null", "training"),
            ("true", "training"),
            ("<h1>ready</h1>", "training"),
            ("ready" * 1000, "training"),
        ],
        ids=repr,
    )
    def test_only_words_that_are_known_end_a_training(self, word: str, status: str) -> None:
        after = polled(TRAINING, says(word))
        assert (after.status, after.raw_status) == (status, word)

    @pytest.mark.parametrize("word", ["queued", "", "PAUSED?", "\x00", "\ud800"], ids=repr)
    def test_an_unknown_word_changes_nothing_but_what_was_said_last(self, word: str) -> None:
        watch = replace(TRAINING, raw_status="training", readings=3, left_baseline=True)
        assert polled(watch, says(word)) == replace(watch, raw_status=word, readings=4)

    def test_a_failure_names_the_word(self) -> None:
        after = polled(TRAINING, says("Error"))
        assert after.failure == Failure("upstream_failed", "PhotoGPT reports the status 'Error'.")

    @pytest.mark.parametrize("word", ["ready", "deleted"])
    def test_an_end_that_was_said_is_no_failure(self, word: str) -> None:
        assert polled(TRAINING, says(word)).failure is None

    def test_the_first_end_is_the_one_that_counts(self) -> None:
        assert polled(TRAINING, says("training"), says("ready")).status == "ready"

    @pytest.mark.parametrize(
        ("word", "known"),
        [
            ("ready", True),
            ("deleted", True),
            ("failed", True),
            ("error", True),
            ("training", True),
            (" NEW ", True),
            ("", True),
            ("queued", False),
            ("trained", False),
        ],
        ids=repr,
    )
    def test_words_that_are_worth_a_line_in_the_log(self, word: str, known: bool) -> None:
        assert is_known(word) is known


class TestNotFound:
    @pytest.mark.parametrize(
        ("seen", "status", "count"),
        [
            ([NOT_FOUND], "training", 1),
            ([NOT_FOUND] * 2, "training", 2),
            ([NOT_FOUND] * 3, "deleted", 3),
            ([NOT_FOUND, NOT_FOUND, says("training"), NOT_FOUND, NOT_FOUND], "training", 2),
            ([NOT_FOUND, NOT_FOUND, says(""), NOT_FOUND, NOT_FOUND, NOT_FOUND], "deleted", 3),
            ([NOT_FOUND, UNREADABLE, NOT_FOUND], "training", 2),
            ([NOT_FOUND, UNREADABLE, NOT_FOUND, UNREADABLE, NOT_FOUND], "deleted", 3),
            ([NOT_FOUND, NOT_FOUND, UNREADABLE, UNREADABLE, UNREADABLE], "training", 2),
            ([NOT_FOUND, NOT_FOUND, says("ready")], "ready", 0),
        ],
        ids=[
            "once",
            "twice",
            "three times",
            "a reading begins anew",
            "three times after a reading",
            "unreadable does not count",
            "unreadable does not begin anew",
            "unreadable is not the third",
            "back and ready",
        ],
    )
    def test_three_in_a_row_are_a_deleted_model(self, seen: list[Seen], status: str, count: int) -> None:
        after = polled(TRAINING, *seen)
        assert (after.status, after.not_found_count) == (status, count)

    def test_the_reason_is_told(self) -> None:
        after = polled(TRAINING, *[NOT_FOUND] * 3)
        assert after.failure == Failure("not_found", "PhotoGPT answered 3 times in a row that there is no such model.")

    def test_it_ends_a_submission_too(self) -> None:
        assert polled(SUBMITTING, *[NOT_FOUND] * 3).status == "deleted"


class TestRefusedKey:
    @pytest.mark.parametrize(
        ("seen", "suspended", "count"),
        [
            ([REFUSED], False, 1),
            ([REFUSED] * 2, False, 2),
            ([REFUSED] * 3, True, 3),
            ([REFUSED, REFUSED, says("training"), REFUSED, REFUSED], False, 2),
            ([REFUSED, REFUSED, NOT_FOUND, REFUSED, REFUSED], False, 2),
            ([REFUSED, UNREADABLE, REFUSED], False, 2),
            ([REFUSED, REFUSED, UNREADABLE, REFUSED], True, 3),
        ],
        ids=[
            "once",
            "twice",
            "three times",
            "a reading begins anew",
            "not found was said to an accepted key",
            "unreadable does not count",
            "unreadable does not begin anew",
        ],
    )
    def test_three_in_a_row_suspend(self, seen: list[Seen], suspended: bool, count: int) -> None:
        after = polled(TRAINING, *seen)
        assert (after.suspended, after.key_refused_count, after.status) == (suspended, count, "training")

    def test_a_submission_is_suspended_and_not_given_up(self) -> None:
        after = polled(SUBMITTING, *[REFUSED] * 3)
        assert (after.suspended, after.status, after.readings) == (True, "submitting", 0)


@pytest.mark.parametrize(
    "watch",
    [
        TRAINING,
        SUBMITTING,
        replace(TRAINING, not_found_count=2, key_refused_count=2, raw_status="training", readings=5),
        replace(SUBMITTING, readings=2, baseline=says("new")),
        replace(TRAINING, overdue=True),
        replace(TRAINING, suspended=True),
    ],
    ids=["training", "submitting", "counting", "two readings", "overdue", "suspended"],
)
def test_unreadable_answers_and_requests_to_wait_change_nothing(watch: Watch) -> None:
    seen: list[Seen] = [Unreadable("http_502"), Throttled(), Throttled(timedelta(hours=1)), UNREADABLE]
    assert polled(watch, *seen * 3) == watch


def test_a_request_to_wait_between_does_not_begin_a_count_anew() -> None:
    assert polled(TRAINING, NOT_FOUND, Throttled(), NOT_FOUND, Throttled(), NOT_FOUND).status == "deleted"
    assert polled(TRAINING, REFUSED, Throttled(), REFUSED, Throttled(), REFUSED).suspended


HARMLESS = [says("training"), says("odd"), UNREADABLE, Throttled(), NOT_FOUND, REFUSED]
HARMLESS_NAMES = ["training", "unknown word", "unreadable", "throttled", "not found", "key refused"]


class TestAge:
    @pytest.mark.parametrize("seen", HARMLESS, ids=HARMLESS_NAMES)
    @pytest.mark.parametrize("watch", [TRAINING, SUBMITTING], ids=["training", "submitting"])
    def test_overdue_from_minute_35_on(self, watch: Watch, seen: Seen) -> None:
        assert not polled_at(34.99, watch, seen).overdue
        assert polled_at(35, watch, seen).overdue

    @pytest.mark.parametrize("seen", HARMLESS, ids=HARMLESS_NAMES)
    @pytest.mark.parametrize("watch", [TRAINING, SUBMITTING], ids=["training", "submitting"])
    def test_expired_after_24_hours(self, watch: Watch, seen: Seen) -> None:
        assert not polled_at(24 * 60 - 0.01, watch, seen).expiring
        late = polled_at(24 * 60, watch, seen)
        assert late.status in {"training", "submitting"}
        assert (late.expiring, late.overdue) == (True, True)
        after = polled_at(24 * 60 + 5, late, seen)
        assert after.status == "expired"
        assert after.failure is not None
        assert after.failure.code == "watched_too_long"

    def test_expiry_tells_the_last_word(self) -> None:
        after = polled_at(24 * 60, replace(TRAINING, raw_status="odd", expiring=True), UNREADABLE)
        assert after.failure == Failure(
            "watched_too_long", "Watched for 1 day, 0:00:00 without an end; the last status was 'odd'."
        )

    @pytest.mark.parametrize(
        ("watch", "seen", "status"),
        [
            (TRAINING, says("ready"), "ready"),
            (TRAINING, says("deleted"), "deleted"),
            (TRAINING, says("failed"), "failed"),
            (replace(TRAINING, not_found_count=2), NOT_FOUND, "deleted"),
        ],
        ids=["ready", "deleted", "failed", "third not found"],
    )
    def test_an_end_seen_late_is_still_that_end(self, watch: Watch, seen: Seen, status: str) -> None:
        assert polled_at(30 * 60, watch, seen).status == status

    @pytest.mark.parametrize("seen", [says("training"), UNREADABLE, Throttled()], ids=str)
    def test_two_looks_in_a_row_have_to_find_it_too_old(self, seen: Seen) -> None:
        """The wall clock may have jumped between them."""
        late = polled_at(25 * 60, TRAINING, seen)
        assert (late.status, late.expiring) == ("training", True)
        back = polled_at(30, late, seen)
        assert (back.status, back.expiring) == ("training", False)
        again = polled_at(25 * 60, back, seen)
        assert (again.status, again.expiring) == ("training", True)
        assert polled_at(25 * 60, again, seen).status == "expired"

    def test_an_overdue_training_becomes_ready(self) -> None:
        after = polled(TRAINING, says("training"), says("ready"), every=40)
        assert (after.status, after.overdue) == ("ready", True)

    def test_a_wall_clock_that_jumps_back_does_not_undo_overdue(self) -> None:
        assert polled_at(10, polled_at(40, TRAINING, UNREADABLE), UNREADABLE).overdue


READY_BEFORE = replace(TRAINING, baseline=says("ready", "u1"))


class TestStaleReadings:
    """A model that is trained again may repeat for a while what it said before the trigger."""

    @pytest.mark.parametrize(
        ("watch", "readings", "status"),
        [
            (READY_BEFORE, [(5, says("ready"))], "training"),
            (READY_BEFORE, [(5, says(" READY "))], "training"),
            (READY_BEFORE, [(5, says("ready")), (9.99, says("ready"))], "training"),
            (READY_BEFORE, [(5, says("ready")), (10, says("ready"))], "ready"),
            (READY_BEFORE, [(5, says("training")), (6, says("ready"))], "ready"),
            (READY_BEFORE, [(5, says("odd")), (6, says("ready"))], "ready"),
            (READY_BEFORE, [(5, says("ready", "u2"))], "ready"),
            (READY_BEFORE, [(5, says("ready", None))], "ready"),
            (READY_BEFORE, [(5, UNREADABLE), (6, says("ready"))], "training"),
            (READY_BEFORE, [(5, NOT_FOUND), (6, says("ready"))], "training"),
            (READY_BEFORE, [(5, says("deleted"))], "deleted"),
            (replace(TRAINING, baseline=says("ready", None)), [(5, says("ready", None))], "training"),
            (replace(TRAINING, baseline=says("failed")), [(5, says("failed"))], "training"),
            (replace(TRAINING, baseline=says("failed")), [(10, says("failed"))], "failed"),
            (replace(TRAINING, baseline=says("new")), [(5, says("ready"))], "ready"),
            (TRAINING, [(5, says("ready"))], "ready"),
        ],
        ids=[
            "does not count",
            "does not count in another spelling",
            "does not count just before two intervals",
            "counts after two intervals",
            "counts after a reading that left it",
            "counts after an unknown word",
            "counts with a changed updatedAt",
            "counts with a vanished updatedAt",
            "does not count after an unreadable answer",
            "does not count after a single not found",
            "another end counts",
            "does not count without any updatedAt",
            "stale failure does not count",
            "stale failure counts after two intervals",
            "was new before",
            "nothing is known from before",
        ],
    )
    def test_a_repeated_reading(self, watch: Watch, readings: list[tuple[float, Seen]], status: str) -> None:
        for minute, seen in readings:
            watch = polled_at(minute, watch, seen)
        assert watch.status == status

    def test_having_left_it_is_remembered(self) -> None:
        assert polled(READY_BEFORE, says("ready")).left_baseline is False
        assert polled(READY_BEFORE, says("training"), UNREADABLE).left_baseline is True


class TestUnconfirmedTrigger:
    """The answer to the trigger was lost; readings tell whether it took."""

    @pytest.mark.parametrize(
        ("before", "seen", "status"),
        [
            (says("new"), says("training"), "training"),
            (says("new"), says("Training "), "training"),
            (says("new"), says("ready", "u2"), "ready"),
            (says("new"), says("ready", "u1"), "ready"),
            (says("new"), says("deleted"), "deleted"),
            (says("new"), says("failed"), "failed"),
            (says("new"), says("queued"), "training"),
            (says("new"), says("new"), "submitting"),
            (says("new"), says("new", "u2"), "submitting"),
            (says("new"), says(" NEW"), "submitting"),
            (says("new"), says(""), "submitting"),
            (says("ready"), says("ready"), "submitting"),
            (says("ready"), says("READY"), "submitting"),
            (says("ready"), says("new"), "submitting"),
            (says("ready"), says("ready", "u2"), "ready"),
            (says("ready"), says("training"), "training"),
            (says("failed"), says("failed"), "submitting"),
            (says("odd"), says("odd"), "submitting"),
            (says("odd"), says("odd", "u2"), "training"),
            (says("training"), says("training"), "training"),
            (None, says("new"), "submitting"),
            (None, says("training"), "training"),
            (None, says("ready"), "ready"),
        ],
        ids=lambda value: f"{value.raw_status!r}/{value.updated_at}" if isinstance(value, Observation) else str(value),
    )
    def test_one_reading(self, before: Observation | None, seen: Observation, status: str) -> None:
        assert polled(replace(SUBMITTING, baseline=before), seen).status == status

    @pytest.mark.parametrize(
        ("seen", "status", "readings"),
        [
            ([says("new")] * 2, "submitting", 2),
            ([says("new")] * 3, "failed", 3),
            ([says("new"), says("new"), says("training")], "training", 3),
            ([says("new"), *[UNREADABLE] * 5, says("new")], "submitting", 2),
            ([says("new"), NOT_FOUND, REFUSED, says("new")], "submitting", 2),
            ([says("new"), UNREADABLE, says(""), UNREADABLE, says("new")], "failed", 3),
        ],
        ids=[
            "two prove nothing",
            "three are the end",
            "the third shows it",
            "unreadable is no reading",
            "not found and a refused key are no readings",
            "three among unreadable ones are the end",
        ],
    )
    def test_three_readings_decide(self, seen: list[Seen], status: str, readings: int) -> None:
        after = polled(replace(SUBMITTING, baseline=says("new")), *seen)
        assert (after.status, after.readings) == (status, readings)

    def test_a_model_that_stays_ready_was_not_triggered(self) -> None:
        after = polled(replace(SUBMITTING, baseline=says("ready")), *[says("ready")] * 3, every=5)
        assert after.status == "failed"

    def test_the_reason_is_told(self) -> None:
        after = polled(SUBMITTING, *[says("new")] * 3)
        assert after.failure == Failure(
            "trigger_unconfirmed",
            "The answer to the trigger was lost, and 3 readings of the model show no training. "
            "It was not triggered again; request it again if you still want it.",
        )

    def test_a_failure_after_all_names_the_word(self) -> None:
        after = polled(SUBMITTING, says("failed"))
        assert after.failure == Failure("upstream_failed", "PhotoGPT reports the status 'failed'.")

    def test_an_adopted_training_is_watched_like_any_other(self) -> None:
        adopted = polled(replace(SUBMITTING, baseline=says("ready")), says("training"))
        assert adopted.status == "training"
        assert polled(adopted, *[says("new")] * 5).status == "training"
        assert polled(adopted, says("ready")).status == "ready"


ANY_TEXT = st.text(st.characters(exclude_categories=()))
ENDS = ("ready", "deleted", "failed", "error")
WORDS = st.sampled_from(["", "new", "training", "queued", "Ready", " DELETED", *ENDS]) | ANY_TEXT
OBSERVATIONS = st.builds(Observation, WORDS, st.none() | st.sampled_from(["u1", "u2"]) | ANY_TEXT)
READINGS = OBSERVATIONS | st.sampled_from([NOT_FOUND, REFUSED, UNREADABLE, Throttled()])
WATCHES = st.builds(
    Watch,
    status=st.sampled_from([Status.SUBMITTING, Status.TRAINING]),
    since=st.just(START),
    baseline=st.none() | OBSERVATIONS,
    left_baseline=st.booleans(),
    overdue=st.booleans(),
    suspended=st.booleans(),
    not_found_count=st.integers(0, 2),
    key_refused_count=st.integers(0, 2),
    readings=st.integers(0, 2),
    expiring=st.booleans(),
)
MINUTES = st.floats(0, 48 * 60)


class TestProperties:
    @given(watch=WATCHES, polls=st.lists(st.tuples(MINUTES, READINGS), max_size=12))
    def test_a_watched_training_only_moves_along_the_table(self, watch: Watch, polls: list[tuple[float, Seen]]) -> None:
        for minute, seen in polls:
            if watch.status in TERMINAL:
                return
            after = polled_at(minute, watch, seen)
            assert after.status is watch.status or after.status in TRANSITIONS[watch.status].values()
            assert after.overdue >= watch.overdue
            assert after.since == START
            assert (after.failure is None) or after.status in {"failed", "deleted", "expired"}
            watch = after

    @given(status=st.sampled_from(sorted(TERMINAL)), seen=READINGS, minute=MINUTES)
    def test_what_has_ended_has_ended(self, status: Status, seen: Seen, minute: float) -> None:
        try:
            after = polled_at(minute, Watch(status, START), seen)
        except KeyError:  # nobody polls it any more; if somebody does, that is a defect and no transition
            return
        assert after.status is status

    @given(word=ANY_TEXT, minute=st.floats(0, 24 * 60 - 1), baseline=st.none() | OBSERVATIONS)
    def test_no_unknown_word_ends_a_training(self, word: str, minute: float, baseline: Observation | None) -> None:
        if word.strip().lower() not in ENDS:
            after = polled_at(minute, replace(TRAINING, baseline=baseline), says(word))
            assert (after.status, after.raw_status, after.failure) == ("training", word, None)

    @given(watch=WATCHES, minute=st.floats(0, 24 * 60 - 1), reason=ANY_TEXT)
    def test_what_can_not_be_read_says_nothing(self, watch: Watch, minute: float, reason: str) -> None:
        after = polled_at(minute, watch, Unreadable(reason))
        assert after == replace(watch, overdue=watch.overdue or minute >= 35, expiring=False)
