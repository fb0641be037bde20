"""Sends an event to a local port as the gateway would send the webhook: the same bytes, signed with another secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from service.clock import Clock
from service.domain.event import event_body
from service.domain.signature import signature_headers

# As long as the gateway waits for an answer, unless it is told otherwise.
_TIMEOUT_SECONDS = 15.0
_USER_AGENT = "photogpt-webhooks listen (Standard Webhooks)"


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What came of it, in words: `204 in 12 ms`, or why there was no answer."""

    ok: bool
    told: str


class Forwarder:
    """One attempt for each event: whoever sits at the receiver starts it again, and has the event sent again."""

    def __init__(self, url: str, secret: str, clock: Clock) -> None:
        self._url = url
        self._secret = secret
        self._clock = clock

    def send(self, event: Mapping[str, Any]) -> Forwarded:
        body = webhook_body(event)
        headers = {
            "content-type": "application/json",
            "user-agent": _USER_AGENT,
            **signature_headers(event["id"], self._clock.now(), body, [self._secret]),
        }
        began = self._clock.monotonic()
        try:
            with httpx.Client(trust_env=False, timeout=_TIMEOUT_SECONDS) as http:
                answer = http.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            return Forwarded(ok=False, told=f"no answer ({str(error) or type(error).__name__})")
        took = round((self._clock.monotonic() - began) * 1000)
        return Forwarded(ok=answer.is_success, told=f"{answer.status_code} in {took} ms")


def webhook_body(event: Mapping[str, Any]) -> bytes:
    """The bytes of the webhook of an event as `/v1/events` tells it."""
    return event_body(event["type"], datetime.fromisoformat(event["timestamp"]), event["data"])
