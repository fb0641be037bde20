"""Receivers of webhooks at many addresses of this machine: they note when each came, and some of them may hang."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from bench.fakes.wire import Reply, Request

_ID = b"\r\nwebhook-id: "


@dataclass(slots=True)
class Manner:
    """`hanging`: hosts that never answer. `close`: each connection serves one request."""

    hanging: list[str] = field(default_factory=list)
    close: bool = False
    latency: float = 0.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """`subject` is the last part of the path: the model that this is about."""

    webhook_id: str
    subject: str
    host: str
    at: float


@dataclass(slots=True)
class Receiver:
    manner: Manner = field(default_factory=Manner)
    receipts: list[Receipt] = field(default_factory=list)
    hung: int = 0
    subjects: set[str] = field(default_factory=set)
    doubled: int = 0

    def reset(self, manner: dict[str, Any]) -> None:
        self.manner = Manner(**manner)
        self.receipts.clear()
        self.subjects.clear()
        self.hung = self.doubled = 0

    def counts(self) -> dict[str, Any]:
        return {
            "received": len(self.receipts),
            "subjects": len(self.subjects),
            "doubled": self.doubled,
            "hung": self.hung,
            "last_at": self.receipts[-1].at if self.receipts else None,
        }

    def answer(self, request: Request) -> Reply:
        if request.host in self.manner.hanging:
            self.hung += 1
            return Reply(0)
        if request.method != "POST" or not request.body:
            return Reply(400)
        receipt = Receipt(_webhook_id(request.head), request.path.rpartition("/")[2], request.host, time.time())
        self.receipts.append(receipt)
        if receipt.subject in self.subjects:
            self.doubled += 1
        self.subjects.add(receipt.subject)
        return Reply(200, b"{}", self.manner.latency, self.manner.close)


def _webhook_id(head: bytes) -> str:
    at = head.find(_ID)
    return "" if at < 0 else head[at + len(_ID) :].split(b"\r\n", 1)[0].decode("latin-1")
