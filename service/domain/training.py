"""The life of a training: one transition table, and `observe`, which turns what a poll saw into the next state.

Two vocabularies meet here. `Status` is ours and closed: an absent key in TRANSITIONS is an error. What PhotoGPT
reports is an open list of words in any case ("typical" statuses, no failure status documented: photogpt-facts 5), so a
word that is not listed below changes nothing: it is kept as received and the model is polled on.

A reading that only repeats what the model said before our trigger proves nothing: a model that was `ready` and is
trained again may still say `ready` for a while. Such a stale reading counts only after a reading that left it, a
changed `updatedAt`, or two poll intervals (DESIGN 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum


class Status(StrEnum):
    QUEUED = "queued"
    SUBMITTING = "submitting"
    TRAINING = "training"
    READY = "ready"
    DELETED = "deleted"
    REJECTED = "rejected"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Signal(StrEnum):
    """What can move a training."""

    TURN = "its turn has come"
    NO_ROOM = "nothing was started, and it may wait"
    WAITED_TOO_LONG = "it waited for 24 hours"
    CONFIRMED = "the upstream confirms the training"
    REFUSED = "the upstream refuses the trigger"
    UNCONFIRMED = "no reading confirms the trigger"
    SEEN_READY = "the upstream says ready"
    SEEN_DELETED = "the upstream says deleted, or three times not found"
    SEEN_FAILED = "the upstream says failed"
    WATCHED_TOO_LONG = "24 hours without an end"
    STOPPED = "the caller stops the watch"


TRANSITIONS: Mapping[Status, Mapping[Signal, Status]] = {
    Status.QUEUED: {
        Signal.TURN: Status.SUBMITTING,
        Signal.REFUSED: Status.REJECTED,
        Signal.WAITED_TOO_LONG: Status.REJECTED,
        Signal.STOPPED: Status.CANCELLED,
    },
    Status.SUBMITTING: {
        Signal.NO_ROOM: Status.QUEUED,
        Signal.CONFIRMED: Status.TRAINING,
        Signal.REFUSED: Status.REJECTED,
        Signal.UNCONFIRMED: Status.FAILED,
        Signal.SEEN_READY: Status.READY,
        Signal.SEEN_DELETED: Status.DELETED,
        Signal.SEEN_FAILED: Status.FAILED,
        Signal.WATCHED_TOO_LONG: Status.EXPIRED,
        Signal.STOPPED: Status.CANCELLED,
    },
    Status.TRAINING: {
        Signal.SEEN_READY: Status.READY,
        Signal.SEEN_DELETED: Status.DELETED,
        Signal.SEEN_FAILED: Status.FAILED,
        Signal.WATCHED_TOO_LONG: Status.EXPIRED,
        Signal.STOPPED: Status.CANCELLED,
    },
    Status.READY: {},
    Status.DELETED: {},
    Status.REJECTED: {},
    Status.FAILED: {},
    Status.EXPIRED: {},
    Status.CANCELLED: {},
}
ACTIVE = tuple(status for status, moves in TRANSITIONS.items() if moves)
TERMINAL = frozenset(status for status, moves in TRANSITIONS.items() if not moves)
# What a training begins as: behind a queue, or with the intent to trigger it.
FIRST = (Status.QUEUED, Status.SUBMITTING)

# PhotoGPT says training usually takes 20 to 25 minutes (docs/training).
USUAL_DURATION = (timedelta(minutes=20), timedelta(minutes=25))
# One 404 means nothing; three in a row mean that the model is gone (failure model 2.3).
NOT_FOUND_LIMIT = 3
# A key refused three times in a row is not used further (failure model 2.3).
KEY_REFUSED_LIMIT = 3
# An unclear trigger is read at most three times, then given up (DESIGN 4).
CONFIRMING_READINGS = 3

_NOT_STARTED = frozenset({"", "new"})
_SIGNALS = {
    "ready": Signal.SEEN_READY,
    "deleted": Signal.SEEN_DELETED,
    # Undocumented, seen in third-party notes only (photogpt-facts 13.2): terminal when PhotoGPT does say so.
    "failed": Signal.SEEN_FAILED,
    "error": Signal.SEEN_FAILED,
}
_NOT_UNDER_WAY = _NOT_STARTED | _SIGNALS.keys()
_KNOWN = _NOT_UNDER_WAY | {"training"}


@dataclass(frozen=True, slots=True)
class Observation:
    """A well-formed answer about the model: its status as received, and its `updatedAt`, an opaque text."""

    raw_status: str
    updated_at: str | None = None

    @property
    def status(self) -> str:
        return self.raw_status.strip().lower()


@dataclass(frozen=True, slots=True)
class ModelNotFound:
    """PhotoGPT says that there is no such model for this key."""


@dataclass(frozen=True, slots=True)
class KeyRefused:
    """PhotoGPT refuses the key, in its own JSON (a CDN's 403 page is Unreadable)."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """PhotoGPT asks this key to wait (429), and perhaps says how long."""

    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """No usable answer: timeout, 5xx, HTML, garbage. Says nothing about the model.

    `outage`: nobody at PhotoGPT seems to have answered, so that other models would not be answered either.
    """

    reason: str
    retry_after: timedelta | None = None
    outage: bool = False


Seen = Observation | ModelNotFound | KeyRefused | Throttled | Unreadable


@dataclass(frozen=True, slots=True)
class QueueRules:
    """`pause`: the least time between two tries of a key. `expire_after`: how long a training waits at most."""

    pause: timedelta = timedelta(minutes=1)
    expire_after: timedelta = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rules:
    """Durations that settings may change. `poll_times`: when, after its trigger, a model is polled before it is every
    interval.
    """

    poll_interval: timedelta
    lease: timedelta
    overdue_after: timedelta
    expire_after: timedelta
    queue: QueueRules = QueueRules()
    poll_times: tuple[timedelta, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a training did not become ready: a stable code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Watch:
    """What `observe` needs to know of a training, and what it may change. `baseline` was read before the trigger.

    `since` is when it was triggered, or was to be: nobody watches what waits in a queue.
    """

    status: Status
    since: datetime
    baseline: Observation | None = None
    raw_status: str | None = None
    left_baseline: bool = False
    overdue: bool = False
    suspended: bool = False
    not_found_count: int = 0
    key_refused_count: int = 0
    readings: int = 0
    expiring: bool = False
    failure: Failure | None = None

    def move(self, signal: Signal, failure: Failure | None = None) -> Watch:
        """The watch after `signal`. KeyError when TRANSITIONS has no such move: that is a defect of ours."""
        return replace(self, status=TRANSITIONS[self.status][signal], failure=failure)


def observe(watch: Watch, seen: Seen, now: datetime, rules: Rules) -> Watch:
    """The watch after one poll at `now`. A later status, `overdue` or `suspended` is what there is to tell."""
    return _aged(_read(watch, seen, now, rules), now, rules)


def is_known(raw_status: str) -> bool:
    """Whether PhotoGPT's word is one that its documentation or this file names."""
    return raw_status.strip().lower() in _KNOWN


def is_under_way(seen: Observation) -> bool:
    """Whether it says neither an end nor that nothing has begun."""
    return seen.status not in _NOT_UNDER_WAY


def _read(watch: Watch, seen: Seen, now: datetime, rules: Rules) -> Watch:
    match seen:
        case Observation():
            return _observed(watch, seen, now, rules)
        case ModelNotFound():
            return _not_found(replace(watch, key_refused_count=0))
        case KeyRefused():
            count = watch.key_refused_count + 1
            return replace(watch, key_refused_count=count, suspended=count >= KEY_REFUSED_LIMIT)
        case Throttled() | Unreadable():
            return watch


def _observed(watch: Watch, seen: Observation, now: datetime, rules: Rules) -> Watch:
    unproven = watch.status is Status.SUBMITTING and not _proves_trigger(watch, seen)
    left = watch.left_baseline or not (unproven or _repeats(watch.baseline, seen))
    count = watch.readings + 1
    read = replace(
        watch, raw_status=seen.raw_status, left_baseline=left, not_found_count=0, key_refused_count=0, readings=count
    )
    if unproven:
        return _unconfirmed(read)
    if read.status is Status.SUBMITTING:
        read = read.move(Signal.CONFIRMED)
    settled = left or now - read.since >= 2 * rules.poll_interval
    signal = _SIGNALS.get(seen.status) if settled else None
    if signal is None:
        return read
    return read.move(signal, _failure_of(signal, seen))


def _repeats(baseline: Observation | None, seen: Observation) -> bool:
    return baseline is not None and baseline.status == seen.status and baseline.updated_at == seen.updated_at


def _proves_trigger(watch: Watch, seen: Observation) -> bool:
    """Any status past `new` means that the trigger took (photogpt-facts 13.6), unless it was so before."""
    if seen.status in _NOT_STARTED:
        return False
    return seen.status == "training" or not _repeats(watch.baseline, seen)


def _unconfirmed(watch: Watch) -> Watch:
    if watch.readings < CONFIRMING_READINGS:
        return watch
    message = (
        f"The answer to the trigger was lost, and {CONFIRMING_READINGS} readings of the model show no training. "
        "It was not triggered again; request it again if you still want it."
    )
    return watch.move(Signal.UNCONFIRMED, Failure("trigger_unconfirmed", message))


def _not_found(watch: Watch) -> Watch:
    watch = replace(watch, not_found_count=watch.not_found_count + 1)
    if watch.not_found_count < NOT_FOUND_LIMIT:
        return watch
    message = f"PhotoGPT answered {NOT_FOUND_LIMIT} times in a row that there is no such model."
    return watch.move(Signal.SEEN_DELETED, Failure("not_found", message))


def _failure_of(signal: Signal, seen: Observation) -> Failure | None:
    if signal is not Signal.SEEN_FAILED:
        return None
    return Failure("upstream_failed", f"PhotoGPT reports the status {seen.raw_status[:64]!r}.")


def _aged(watch: Watch, now: datetime, rules: Rules) -> Watch:
    """Time passes for whatever is still watched, readable or not."""
    if watch.status in TERMINAL:
        return watch
    age = now - watch.since
    too_long = age >= rules.expire_after
    # One look is not enough: the wall clock may have jumped, and jump back (failure model 2.4).
    if too_long and watch.expiring:
        message = f"Watched for {rules.expire_after} without an end; the last status was {watch.raw_status!r}."
        return watch.move(Signal.WATCHED_TOO_LONG, Failure("watched_too_long", message))
    overdue = watch.overdue or age >= rules.overdue_after
    if (too_long, overdue) == (watch.expiring, watch.overdue):
        return watch
    return replace(watch, expiring=too_long, overdue=overdue)
