"""Whether this process takes new work, and whether it still moves: what `/livez` and `/readyz` say."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from service.claimloop import ClaimLoop
from service.clock import Clock
from service.domain.errors import ShuttingDown
from service.heartbeat import Heartbeat

# The tick comes at least every second; a loop that has not looked for due rows in a minute needs a restart.
_STALLED_AFTER_SECONDS = 60.0
# As long as nothing at all was claimed, rows that have waited longer than this say that something is wrong.
_BEHIND_AFTER_SECONDS = 60.0


class State(StrEnum):
    READY = "ready"
    DRAINING = "draining"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    STALLED = "stalled"
    BEHIND = "behind"


class Lifecycle:
    def __init__(self, *, heartbeat: Heartbeat, loops: Sequence[ClaimLoop[Any]], clock: Clock) -> None:
        self.draining = False
        self._heartbeat = heartbeat
        self._loops = tuple(loops)
        self._clock = clock
        self._ticked_at: float | None = None

    def drain(self) -> None:
        self.draining = True

    def refuse_while_draining(self) -> None:
        """Raises ShuttingDown once the process drains: a train request belongs to one that stays."""
        if self.draining:
            raise ShuttingDown("The gateway is shutting down; try again in a few seconds.")

    def tick(self) -> None:
        """One tick of the scheduler: everybody look what there is to do."""
        self._ticked_at = self._clock.monotonic()
        for loop in self._loops:
            loop.wake()
        self._heartbeat.wake()

    @property
    def tick_age(self) -> float | None:
        """Seconds since the last tick; None before the first."""
        return None if self._ticked_at is None else self._clock.monotonic() - self._ticked_at

    def stalled(self) -> list[str]:
        """What has stopped moving, and only a restart would move again."""
        if self.draining:
            return []
        stalled = [loop.name for loop in self._loops if (loop.idle_for or 0) > _STALLED_AFTER_SECONDS]
        if (self.tick_age or 0) > _STALLED_AFTER_SECONDS:
            stalled.append("scheduler")
        return stalled

    def readiness(self) -> dict[str, Any]:
        """`state`, and the figures behind it: ages and waiting times in seconds."""
        pulse = self._heartbeat.pulse()
        return {
            "status": self._state(),
            "storage": {"written_ago": _rounded(pulse.written_ago)},
            "scheduler": {"ticked_ago": _rounded(self.tick_age)},
            "loops": {
                loop.name: {
                    "claimed_ago": _rounded(loop.unclaimed_for),
                    "in_flight": loop.in_flight,
                    "oldest_due_waits": _rounded(pulse.waiting.get(loop.name, 0.0)),
                    "restarts": loop.restarts,
                }
                for loop in self._loops
            },
        }

    def _state(self) -> State:
        pulse = self._heartbeat.pulse()
        if self.draining:
            return State.DRAINING
        if not pulse.storage_ok:
            return State.STORAGE_UNAVAILABLE
        if self.stalled():
            return State.STALLED
        for loop in self._loops:
            unclaimed, waiting = loop.unclaimed_for or 0, pulse.waiting.get(loop.name, 0)
            if min(unclaimed, waiting) > _BEHIND_AFTER_SECONDS:
                return State.BEHIND
        return State.READY


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
