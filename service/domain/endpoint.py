"""A webhook endpoint: its states, and when one that fails is given up."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

# DESIGN 7: "An endpoint that fails for 5 days is disabled and says so."
DISABLED_AFTER = timedelta(days=5)


class EndpointStatus(StrEnum):
    """`paused` by its owner: events wait. `disabled` by us, see DisabledReason: events are not kept for it."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"


class DisabledReason(StrEnum):
    """`gone`: it answered 410. `failing`: not one success in 5 days of failures."""

    GONE = "gone"
    FAILING = "failing"


def failed_too_long(failing_since: datetime, now: datetime) -> bool:
    return now - failing_since >= DISABLED_AFTER
