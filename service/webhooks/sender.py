"""One signed POST of one body to one URL. Failure is a value here, not an exception."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from service.clock import Clock
from service.domain.backoff import parse_retry_after
from service.domain.delivery import AttemptOutcome, ErrorClass
from service.domain.egress import host_of
from service.domain.secret import Secret
from service.domain.signature import signature_headers
from service.domain.text import printable
from service.domain.traceparent import HEADER
from service.outbound.exchange import NoAnswer, Outbound
from service.telemetry.tracing import Kind, Tracer

_EXCERPT_BYTES = 1024
_USER_AGENT = "photogpt-webhooks/0.1 (Standard Webhooks)"


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: `body` as it is, signed with each of `secrets` and by `sign` (ed25519), with `headers` beside.

    `about`: the ids of what it is, for its trace, which it belongs to by `traceparent`.
    """

    webhook_id: str
    body: bytes = field(repr=False)
    secrets: Sequence[Secret] = field(repr=False)
    sign: Callable[[bytes], bytes] = field(repr=False)
    headers: Mapping[str, Secret] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    about: Mapping[str, str | int | None] = field(default_factory=lambda: MappingProxyType({}))
    traceparent: str | None = None


class Sender:
    """`excerpts`: whether the start of an answer is kept (failure model 5.8)."""

    def __init__(
        self, *, outbound: Outbound, clock: Clock, excerpts: bool = True, tracer: Tracer | None = None
    ) -> None:
        self._outbound = outbound
        self._excerpts = excerpts
        self._clock = clock
        self._tracer = tracer or Tracer()

    async def send(self, url: str, message: Message) -> AttemptOutcome:
        """One attempt, signed with its own time. The receiver is told which step of which trace it is."""
        about = {"event_id": message.webhook_id, "host": host_of(url), **message.about}
        with self._tracer.span("attempt", parent=message.traceparent, kind=Kind.CLIENT, **about) as span:
            outcome = await self._send(url, message, span.traceparent)
            span.note(status_code=outcome.status_code, error_class=outcome.error_class)
            if not outcome.succeeded:
                span.fail(outcome.error_class or "failed")
        return outcome

    async def close(self) -> None:
        await self._outbound.close()

    async def _send(self, url: str, message: Message, traceparent: str | None) -> AttemptOutcome:
        secrets = [secret.reveal() for secret in message.secrets]
        headers = {
            **{name: value.reveal() for name, value in message.headers.items()},
            "content-type": "application/json",
            "user-agent": _USER_AGENT,
            **signature_headers(message.webhook_id, self._clock.now(), message.body, secrets, message.sign),
        }
        if traceparent is not None:
            headers[HEADER] = traceparent
        try:
            answer = await self._outbound.send("POST", url, headers, message.body)
        except NoAnswer as failure:
            return AttemptOutcome(None, failure.error_class, failure.duration)
        return AttemptOutcome(
            status_code=answer.status_code,
            error_class=ErrorClass.of_status(answer.status_code),
            duration=answer.duration,
            excerpt=_excerpt(answer.body) if self._excerpts else "",
            retry_after=parse_retry_after(answer.headers.get("retry-after"), self._clock.now()),
        )


def _excerpt(body: bytes) -> str:
    """The first bytes as one line of text."""
    return printable(body[:_EXCERPT_BYTES].decode("utf-8", "replace"))
