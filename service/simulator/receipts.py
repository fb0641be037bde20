"""The receiver's memory: every webhook that reached it, how it was judged and what it was answered."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.simulator.clock import stamp
from service.simulator.exchange import Outcome

KEPT = 200_000


@dataclass(frozen=True, slots=True)
class Receipt:
    name: str
    headers: dict[str, str]
    body: str
    verified: bool | None
    """None: no secret is known for that name, so nothing was judged."""
    problem: str | None
    received_at: datetime
    outcome: Outcome

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "webhook_id": self.headers.get("webhook-id"),
            "webhook_timestamp": self.headers.get("webhook-timestamp"),
            "webhook_signature": self.headers.get("webhook-signature"),
            "headers": self.headers,
            "body": self.body,
            "verified": self.verified,
            "problem": self.problem,
            "received_at": stamp(self.received_at),
            "answered": self.outcome.status,
        }


class Receipts:
    """Bounded: the oldest are forgotten first."""

    def __init__(self) -> None:
        self._receipts: deque[Receipt] = deque(maxlen=KEPT)

    def add(self, receipt: Receipt) -> None:
        self._receipts.append(receipt)

    def forget(self) -> None:
        self._receipts.clear()

    def report(self, name: str | None, verdicts: set[bool | None], limit: int) -> dict[str, Any]:
        """The newest `limit` of those that match, the oldest first, and how many match in all."""
        found = [
            receipt
            for receipt in self._receipts
            if receipt.verified in verdicts and (name is None or receipt.name == name)
        ]
        newest = found[max(0, len(found) - limit) :]
        return {"count": len(found), "received": [receipt.describe() for receipt in newest]}
