"""Remembers what the simulated PhotoGPT was asked, for tests to count and to time; bounded, the oldest go first."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

from service.simulator.clock import SimulatedClock, stamp
from service.simulator.door import PREFIX, bearer_key
from service.simulator.exchange import Outcome

KEPT = 200_000


@dataclass(frozen=True, slots=True)
class Call:
    method: str
    path: str
    at: datetime
    key: str | None
    api_version: str | None
    outcome: Outcome


class CallLog:
    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self._calls: deque[Call] = deque(maxlen=KEPT)

    def arrived(self, scope: Scope, outcome: Outcome) -> None:
        headers = Headers(scope=scope)
        self._calls.append(
            Call(
                method=scope["method"],
                path=scope["path"].removeprefix(PREFIX),
                at=self._clock.real_now(),
                key=bearer_key(headers.get("authorization")),
                api_version=headers.get("api-version"),
                outcome=outcome,
            )
        )

    def forget(self) -> None:
        self._calls.clear()

    def report(self, path: re.Pattern[str], method: str | None, limit: int) -> dict[str, Any]:
        found = [
            call
            for call in self._calls
            if path.fullmatch(call.path) and (method is None or call.method == method.upper())
        ]
        newest = found[max(0, len(found) - limit) :]
        return {"count": len(found), "calls": [self._describe(call) for call in newest]}

    def _describe(self, call: Call) -> dict[str, Any]:
        return {
            "method": call.method,
            "path": call.path,
            "at": stamp(call.at),
            "simulated_at": stamp(self._clock.at(call.at)),
            "key": call.key,
            "api_version": call.api_version,
            "status": call.outcome.status,
        }
