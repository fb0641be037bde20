"""What a caller asks for and what it is answered: values, and the checks that come before any money is spent."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from service.domain.errors import InvalidRequest
from service.domain.event import CALLBACK_EVENTS, DEFAULT_CALLBACK_EVENTS
from service.domain.reply import Reply
from service.domain.subscription import check_secret, checked_events, checked_headers

# `..`, `a?x` and `a#f` would cut or leave the path of the upstream URL, even percent-encoded (failure model 4).
_MODEL_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """`pointer` is where the URL stood in the request."""

    url: str
    pointer: str
    events: tuple[str, ...] = ()
    secret: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """`queues`: when PhotoGPT has no room, it waits until there is some."""

    model_id: str
    callback: CallbackRequest | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    queues: bool = False

    def fingerprint(self) -> str:
        """The same for the same request, also before there were queues; the Idempotency-Key is not part of it."""
        content = {**asdict(self), "idempotency_key": None}
        if not self.queues:
            del content["queues"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class OutcomeKind(StrEnum):
    ACCEPTED = "accepted"
    JOINED = "joined"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a train request; stored for its Idempotency-Key. A refusal has PhotoGPT's `status`.

    `reply`: PhotoGPT's own answer to the trigger, where there is one; it is not stored.
    """

    kind: OutcomeKind
    training: dict[str, Any] | None = None
    status: int | None = None
    message: str = ""
    retry_after: int | None = None
    replayed: bool = False
    reply: Reply | None = field(default=None, compare=False, repr=False)

    @property
    def may_succeed_later(self) -> bool:
        """Nothing runs and the reason may pass: the same Idempotency-Key may be used to try again."""
        return self.kind is OutcomeKind.UNREACHABLE or (self.kind is OutcomeKind.REFUSED and self.status in (429, 503))

    def stored(self) -> dict[str, Any]:
        content = asdict(replace(self, reply=None))
        del content["reply"]
        return content

    @classmethod
    def replay(cls, stored: Mapping[str, Any]) -> Outcome:
        return cls(**{**stored, "kind": OutcomeKind(stored["kind"]), "replayed": True})


def checked(request: TrainRequest, *, canonical: Callable[[str, str], str]) -> TrainRequest:
    """`request` with its callback URL as `canonical` gives it for URL and pointer; raises InvalidRequest."""
    if not _MODEL_ID.fullmatch(request.model_id):
        raise InvalidRequest(
            "A model id is 1 to 128 letters, digits, '_' or '-'.", pointer="/model_id", code="invalid_model_id"
        )
    if request.callback is None:
        return request
    callback = request.callback
    url = canonical(callback.url, callback.pointer)
    if callback.secret is not None:
        check_secret(callback.secret, pointer="/callback/secret")
    events = checked_events(
        callback.events, allowed=CALLBACK_EVENTS, default=DEFAULT_CALLBACK_EVENTS, pointer="/callback/events"
    )
    headers = checked_headers(callback.headers, pointer="/callback/headers")
    read = CallbackRequest(url, callback.pointer, events, callback.secret, headers)
    return replace(request, callback=read)
