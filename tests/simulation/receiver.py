"""Whoever is called back: notes what arrives, and answers well or badly."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from tests.simulation.faults import Faults
from tests.simulation.photogpt import Reply


@dataclass(frozen=True)
class Receipt:
    """One POST that arrived. `success`: it was answered with a 2xx, whether or not that answer came through."""

    at: float
    url: str
    webhook_id: str
    body: bytes
    success: bool


class Receiver:
    def __init__(self, faults: Faults, rng: random.Random) -> None:
        self.receipts: list[Receipt] = []
        self._faults = faults
        self._rng = rng

    def handle(self, url: str, webhook_id: str, body: bytes) -> Reply:
        status, headers, said = self._answer()
        now = asyncio.get_running_loop().time()
        self.receipts.append(Receipt(now, url, webhook_id, body, 200 <= status < 300))
        return status, headers, said

    def _answer(self) -> Reply:
        if self._faults.strikes("receiver 500"):
            return 500, {}, b"oops"
        if self._faults.strikes("receiver 503 with retry-after"):
            return 503, {"retry-after": str(self._rng.choice((1, 30, 400)))}, b"later"
        if self._faults.strikes("receiver 302"):
            return 302, {"location": "https://elsewhere.example/"}, b""
        if self._faults.strikes("receiver 410"):
            return 410, {}, b"gone"
        return 204, {}, b""
