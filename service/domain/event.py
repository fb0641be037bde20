"""What happened, as the world hears of it: event types, who hears which by default, and the body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from service.domain.training import TERMINAL, Status


class EventType(StrEnum):
    STARTED = "training.started"
    OVERDUE = "training.overdue"
    SUSPENDED = "training.suspended"
    READY = "training.ready"
    DELETED = "training.deleted"
    REJECTED = "training.rejected"
    FAILED = "training.failed"
    EXPIRED = "training.expired"
    CANCELLED = "training.cancelled"
    ENDPOINT_DISABLED = "webhook_endpoint.disabled"


# Every terminal status has its event (DESIGN 2, promise 1).
TERMINAL_EVENTS: Mapping[Status, EventType] = {status: EventType(f"training.{status}") for status in TERMINAL}

# A callback hears of its training alone.
CALLBACK_EVENTS = frozenset(EventType) - {EventType.ENDPOINT_DISABLED}
# ... and, unless it says otherwise, of every end but the one its own caller asked for (DESIGN 6).
DEFAULT_CALLBACK_EVENTS = frozenset(TERMINAL_EVENTS.values()) - {EventType.CANCELLED}
# That another endpoint was disabled is said to whoever listens: nobody may be listening there (what-users-ask 12).
DEFAULT_ENDPOINT_EVENTS = frozenset(TERMINAL_EVENTS.values()) | {EventType.ENDPOINT_DISABLED}


# What a body says of a time it says again in the next.
@lru_cache(64)
def rfc3339(at: datetime) -> str:
    """`2026-11-22T15:04:05.123Z`: UTC, milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event_body(event_type: str, at: datetime, data: Mapping[str, Any]) -> bytes:
    """The bytes that are stored, signed and sent: compact JSON `{"type", "timestamp", "data"}` (Standard Webhooks)."""
    content = {"type": event_type, "timestamp": rfc3339(at), "data": data}
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
