"""What comes once in a while: at once, and then when its time has passed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Turns:
    """One at once, and then one every so many seconds."""

    seconds: float
    last: float | None = None

    def comes(self, now: float) -> bool:
        """Whether there is one, which is then taken. `now`: of a monotonic clock."""
        if self.last is not None and now - self.last < self.seconds:
            return False
        self.last = now
        return True
