"""Named places where a test can end the process at once, as kill -9 or a power cut would; off unless one is armed.

The names are those of the failure model (2.2): what is stored at each, and what must come of it, is its table. The
code says `reached(...)` there and knows nothing of who armed what; `arm` is called by the server from GATEWAY_CRASH_AT,
and by the simulation with a crash of its own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from enum import StrEnum


class CrashPoint(StrEnum):
    INTENT_UNCOMMITTED = "C1"
    INTENT_COMMITTED = "C2"
    TRIGGER_SENT = "C3"
    TRIGGER_ANSWERED = "C4"
    OUTCOME_COMMITTED = "C5"
    POLL_CLAIMED = "C6"
    POLL_ANSWERED = "C7"
    STATUS_UNCOMMITTED = "C8"
    STATUS_COMMITTED = "C9"
    ATTEMPT_CLAIMED = "C10"
    ATTEMPT_UNRECORDED = "C11"  # reached twice in an attempt: when the POST is sent, and when its answer is here
    ATTEMPT_RECORDED = "C12"
    FAN_OUT = "C13"
    KEY_UNERASED = "C14"
    MIGRATING = "C15"
    UNACKNOWLEDGED = "C16"


Hook = Callable[[CrashPoint], None]
_hook: Hook | None = None


def reached(point: CrashPoint) -> None:
    """The code is at `point`; does not return if a crash is armed there."""
    if _hook is not None:
        _hook(point)


def arm(hook: Hook | None) -> None:
    """Call `hook` at every point from now on; None disarms."""
    global _hook  # noqa: PLW0603  # one process, one crash
    _hook = hook


def kill_at(point: CrashPoint, times: int) -> Hook:
    """A hook that ends the process, without clean-up of any kind, when `point` is reached for the `times`-th time."""
    left = times

    def hook(at: CrashPoint) -> None:
        nonlocal left
        if at is not point:
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook
