"""One signed POST of one body to one URL. Failure is a value here, not an exception."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from service.clock import Clock
from service.domain.backoff import parse_retry_after
from service.domain.delivery import AttemptOutcome, ErrorClass
from service.domain.secret import Secret
from service.domain.signature import signature_headers
from service.domain.text import printable
from service.outbound.exchange import NoAnswer, Outbound

_EXCERPT_BYTES = 1024
_USER_AGENT = "photogpt-webhooks/0.1 (Standard Webhooks)"


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: `body` as it is, signed with each of `secrets` and by `sign` (ed25519), with `headers` beside."""

    webhook_id: str
    body: bytes = field(repr=False)
    secrets: Sequence[Secret] = field(repr=False)
    sign: Callable[[bytes], bytes] = field(repr=False)
    headers: Mapping[str, Secret] = field(default_factory=lambda: MappingProxyType({}), repr=False)


class Sender:
    """`excerpts`: whether the start of an answer is kept (failure model 5.8)."""

    def __init__(self, *, outbound: Outbound, clock: Clock, excerpts: bool = True) -> None:
        self._outbound = outbound
        self._excerpts = excerpts
        self._clock = clock

    async def send(self, url: str, message: Message) -> AttemptOutcome:
        """One attempt, signed with its own time."""
        secrets = [secret.reveal() for secret in message.secrets]
        headers = {
            **{name: value.reveal() for name, value in message.headers.items()},
            "content-type": "application/json",
            "user-agent": _USER_AGENT,
            **signature_headers(message.webhook_id, self._clock.now(), message.body, secrets, message.sign),
        }
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

    async def close(self) -> None:
        await self._outbound.close()


def _excerpt(body: bytes) -> str:
    """The first bytes as one line of text."""
    return printable(body[:_EXCERPT_BYTES].decode("utf-8", "replace"))
