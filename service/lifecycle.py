"""Whether this process takes new work, and whether its loops still move."""

from __future__ import annotations

from collections.abc import Sequence

from service.claimloop import ClaimLoop
from service.domain.errors import ShuttingDown

# The tick comes at least every second; a loop that has not looked for due rows in a minute needs a restart.
_STALLED_AFTER_SECONDS = 60.0


class Lifecycle:
    def __init__(self) -> None:
        self.draining = False

    def drain(self) -> None:
        self.draining = True

    def refuse_while_draining(self) -> None:
        """Raises ShuttingDown once the process drains: a train request belongs to one that stays."""
        if self.draining:
            raise ShuttingDown("The gateway is shutting down; try again in a few seconds.")

    def stalled(self, loops: Sequence[ClaimLoop[object]]) -> list[str]:
        """The names of loops that no longer look for due rows."""
        return [loop.name for loop in loops if (loop.idle_for or 0) > _STALLED_AFTER_SECONDS]
