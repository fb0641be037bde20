"""What an answer of PhotoGPT means. Pure: an HTTP answer in, a value out.

PhotoGPT documents an envelope (`{"status": "OK", "result": ...}` or `{"status": "NOK", "message", "err"}`), no error
codes, and failures that are not JSON (openapi/photogpt.yaml; photogpt-facts 2 and 3). So nothing is taken on trust:
what does not have the documented shape says nothing about the model, and decides nothing about the trigger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from service.domain.backoff import parse_retry_after
from service.domain.reply import Reply
from service.domain.text import printable
from service.domain.training import KeyRefused, ModelNotFound, Observation, Seen, Throttled, Unreadable
from service.outbound.exchange import Answer
from service.photogpt.passing import answer_headers

_LONGEST_MESSAGE = 500
_LONGEST_STATUS = 64
_LONGEST_TIMESTAMP = 64
# Refusals that may come from something in between, before or after PhotoGPT acted: request timeout, too early,
# client closed request (as proxies use 499).
_UNCLEAR_4XX = frozenset({408, 425, 499})
# Refusals of a reading that a waiting caller is told (DESIGN 5), whoever says so; and those that only PhotoGPT itself
# can mean: without its envelope a CDN or a proxy speaks, and neither knows keys or models.
_RELAYED = frozenset({400, 402, 409, 422, 429})
_RELAYED_IN_ENVELOPE = frozenset({401, 403, 404, 503})


@dataclass(frozen=True, slots=True)
class Confirmed:
    """PhotoGPT started the training. `reply`: in these very words."""

    reply: Reply | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """PhotoGPT did not start it, and said why; nothing runs. `status` is what the caller is answered with."""

    status: int
    message: str
    retry_after: timedelta | None = None
    reply: Reply | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class NotReached:
    """The request never got to PhotoGPT; nothing runs."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """The training may run or not: only reading the model can tell."""

    reason: str


TriggerResult = Confirmed | Refused | NotReached | Unclear


def model_reading(answer: Answer, model_id: str, now: datetime) -> Seen:
    """What `GET /models/{id}` says."""
    if answer.status_code != 200:
        return reading_failed(answer, now)
    envelope = envelope_of(answer)
    if envelope is None or outcome_of(envelope) != "OK":
        return Unreadable("not_an_ok_envelope", outage=envelope is None)
    result = envelope.get("result")
    return observation_of(result, model_id) if isinstance(result, dict) else Unreadable("result_is_no_object")


def reading_failed(answer: Answer, now: datetime) -> ModelNotFound | KeyRefused | Throttled | Unreadable:
    """What an answer to any reading says that is not a 200."""
    envelope = envelope_of(answer)
    if answer.status_code in (401, 403) and envelope is not None:
        return KeyRefused()
    if answer.status_code == 404 and envelope is not None:
        return ModelNotFound()
    retry_after = parse_retry_after(answer.headers.get("retry-after"), now)
    if answer.status_code == 429:
        return Throttled(retry_after)
    outage = envelope is None or answer.status_code >= 500
    return Unreadable(f"http_{answer.status_code}", retry_after, outage=outage)


def reading_refused(answer: Answer, now: datetime) -> Refused | None:
    """PhotoGPT's refusal of a reading, for a caller who waits; None when it is none, or not PhotoGPT's own."""
    code, envelope = answer.status_code, envelope_of(answer)
    if code == 200:
        return Refused(422, refusal_message(answer), reply=_reply(answer)) if outcome_of(envelope) == "NOK" else None
    if code in _RELAYED or (code in _RELAYED_IN_ENVELOPE and envelope is not None):
        retry_after = parse_retry_after(answer.headers.get("retry-after"), now)
        return Refused(code, refusal_message(answer), retry_after, _reply(answer))
    return None


def says_ok(answer: Answer) -> bool:
    """Whether a reading of anything succeeded; of an answer too long to be read whole only the HTTP status is known."""
    if answer.status_code != 200:
        return False
    return not answer.complete or outcome_of(envelope_of(answer)) == "OK"


def trigger_result(answer: Answer, now: datetime) -> TriggerResult:
    """What `GET /models/{id}/train` says; the list of certain and unclear outcomes is DESIGN 5."""
    code, envelope = answer.status_code, envelope_of(answer)
    if 200 <= code < 300:
        return _success(answer, envelope)
    if code == 403 and envelope is None:
        return NotReached("http_403")  # a CDN's page: PhotoGPT never saw the request (photogpt-facts 1)
    if (400 <= code < 500 and code not in _UNCLEAR_4XX) or (code == 503 and envelope is not None):
        retry_after = parse_retry_after(answer.headers.get("retry-after"), now)
        return Refused(code, refusal_message(answer), retry_after, _reply(answer))
    return Unclear(f"http_{code}")


def refusal_message(answer: Answer) -> str:
    """PhotoGPT's own words, bounded; empty when it said nothing readable."""
    envelope = envelope_of(answer) or {}
    for name in ("message", "err"):
        text = envelope.get(name)
        if isinstance(text, str) and (said := clean_text(text, _LONGEST_MESSAGE)):
            return said
    return ""


def clean_text(text: str, limit: int) -> str:
    """The printable part of `text`, bounded."""
    return printable(text[: limit * 2])[:limit]


def _success(answer: Answer, envelope: dict[str, Any] | None) -> TriggerResult:
    outcome = outcome_of(envelope)
    if outcome == "OK":
        return Confirmed(_reply(answer))
    if outcome == "NOK":
        return Refused(422, refusal_message(answer), reply=_reply(answer))
    return Unclear(f"http_{answer.status_code}_without_envelope")


def observation_of(result: dict[str, Any], model_id: str) -> Observation | Unreadable:
    """One model as it stands in an answer."""
    if result.get("id", model_id) != model_id:
        return Unreadable("foreign_model_id")
    # PhotoGPT's own samples treat an absent status as an empty string (docs/training).
    status, updated_at = result.get("status"), result.get("updatedAt")
    if status is None:
        status = ""
    if not isinstance(status, str):
        return Unreadable("status_is_no_string")
    if updated_at is not None and not isinstance(updated_at, str):
        return Unreadable("updated_at_is_no_string")
    return Observation(
        clean_text(status, _LONGEST_STATUS), clean_text(updated_at, _LONGEST_TIMESTAMP) if updated_at else None
    )


def _reply(answer: Answer) -> Reply | None:
    """The whole answer; of one too long to be read there is no whole."""
    if not answer.complete:
        return None
    return Reply(answer.status_code, tuple(answer_headers(answer.raw_headers, answer.status_code)), answer.body)


def outcome_of(envelope: Mapping[str, Any] | None) -> str:
    return str((envelope or {}).get("status", "")).upper()


def envelope_of(answer: Answer) -> dict[str, Any] | None:
    """The JSON object in the body, or None for anything else."""
    if not answer.complete:
        return None
    try:
        content = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and "status" in content else None
