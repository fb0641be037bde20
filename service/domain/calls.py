"""Calls to PhotoGPT by what they are for, and how many a polling loop would have made in their place."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum


class CallKind(StrEnum):
    POLL = "poll"
    SWEEP = "sweep"
    BASELINE = "baseline"
    TRIGGER = "trigger"
    KEY_CHECK = "key_check"
    PASSED_ON = "passed_on"
    """Not ours: a caller's, through /api."""


OnCall = Callable[[CallKind], None]


def uncounted(_kind: CallKind) -> None:
    """For those who do not count."""


# What watches a training, and so stands against the calls of a loop.
WATCHING = frozenset({CallKind.POLL, CallKind.SWEEP, CallKind.BASELINE})


def loop_calls(watched_for: timedelta, interval: timedelta) -> int:
    """Calls of a loop that reads one model every `interval` after the trigger, until it sees the end."""
    return max(1, math.ceil(watched_for / interval))
