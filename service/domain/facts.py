"""What a transaction has made true, and what is counted of it once it is committed: never what was undone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, StrEnum, auto

DELIVERED = "delivered"
"""What came of an attempt, in place of an ErrorClass."""


class Fact(Enum):
    """Each is counted by one more word, which is one of a few."""

    TRAINING_ACCEPTED = auto()
    TRAINING_ENDED = auto()
    EVENT = auto()
    DELIVERY_MADE = auto()
    DELIVERY_ENDED = auto()
    ATTEMPT = auto()
    ATTEMPT_OUTDATED = auto()
    TAKEN_OVER = auto()
    KEY_PAUSED = auto()
    ENDPOINT_DISABLED = auto()


@dataclass(slots=True)
class Facts:
    """`counts`: how often each became true, by its word. The rest are times, one each: `trained_for` of trainings that
    ended, since the trigger; `attempted_for` of attempts; `waited_for` of deliveries until their first attempt;
    `late_by` of polls that were due, until they were claimed.
    """

    counts: Counter[tuple[Fact, str]] = field(default_factory=Counter)
    trained_for: list[timedelta] = field(default_factory=list)
    attempted_for: list[timedelta] = field(default_factory=list)
    waited_for: list[timedelta] = field(default_factory=list)
    late_by: list[timedelta] = field(default_factory=list)

    def note(self, fact: Fact, word: str = "", times: int = 1) -> None:
        self.counts[fact, word] += times


class Polled(StrEnum):
    """What came of looking at one training that was due."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    LISTED = "listed"
    """The list of its key's models has nothing new of it."""
    NOT_FOUND = "not_found"
    KEY_REFUSED = "key_refused"
    THROTTLED = "throttled"
    UNREADABLE = "unreadable"
    NOT_ASKED = "not_asked"
    """Nobody at PhotoGPT answers, so that this one was not asked for."""
    OUTDATED = "outdated"
    """Somebody else had it by then: the lease was over, or its watch had been stopped."""


class Swept(StrEnum):
    """What came of one list of a key's models."""

    USED = "used"
    UNUSABLE = "unusable"
    FAILED = "failed"
