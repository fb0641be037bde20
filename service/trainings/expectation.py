"""What is stored with a training, at its trigger, about when it will be ready.

Asked by the recorder alone, so that whoever confirms a training (intake, poller, the queue's starter) need not think of
it. What it goes by is the same for all tenants: how long a training takes is a property of PhotoGPT.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from service.domain.expectation import ASKED, Expectation, expectation
from service.storage.database import UnitOfWork

# What a day of trainings taught is not different a minute later; and a minute of confirmations costs one look.
_KEPT = timedelta(minutes=1)


class Expectations:
    def __init__(self) -> None:
        self._known: tuple[datetime, Expectation] | None = None

    def at_trigger(self, unit: UnitOfWork, triggered_at: datetime, *, now: datetime) -> dict[str, datetime]:
        """The columns of a training that was triggered then."""
        expected = self._expectation(unit, now)
        return {
            "ready_expected_from": triggered_at + expected.least,
            "ready_expected_at": triggered_at + expected.middle,
            "ready_expected_to": triggered_at + expected.most,
        }

    def _expectation(self, unit: UnitOfWork, now: datetime) -> Expectation:
        # The wall clock may have been put back: then what is known seems to lie ahead.
        if self._known is None or abs(now - self._known[0]) >= _KEPT:
            self._known = (now, expectation(unit.history.durations(limit=ASKED)))
        return self._known[1]
