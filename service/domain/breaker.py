"""A circuit breaker as a value that is moved by outcomes: while the other side is down, only a probe now and then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

# One bad answer means nothing, and neither do a few: 5 in a row without one good one between them do.
FAILURES_TO_OPEN = 5


@dataclass(slots=True)
class Breaker:
    """Times are seconds of a monotonic clock. Closed, it lets everything pass; open, one call per `probe_every`."""

    probe_every: timedelta
    failures: int = 0
    probe_at: float = 0.0

    @property
    def open(self) -> bool:
        return self.failures >= FAILURES_TO_OPEN

    def lets_pass(self, now: float) -> bool:
        """Whether a call may be made at `now`; if that is a probe, it is taken."""
        if not self.open:
            return True
        if now < self.probe_at:
            return False
        self.probe_at = now + self.probe_every.total_seconds()
        return True

    def failed(self, now: float) -> bool:
        """Note a call that nobody answered; true when this opens the breaker."""
        self.failures += 1
        if self.failures != FAILURES_TO_OPEN:
            return False
        self.probe_at = now + self.probe_every.total_seconds()
        return True

    def succeeded(self) -> bool:
        """Note an answer, of whatever content; true when this closes the breaker."""
        was_open, self.failures = self.open, 0
        return was_open
