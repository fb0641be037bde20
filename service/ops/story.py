"""A training's whole story, in the order of time: asked for, triggered, polled, ended; each event, each attempt.

Pure: made from rows that were read together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from service.domain.egress import shown_url
from service.domain.event import EventType, rfc3339
from service.domain.training import TERMINAL, Status
from service.ops import PREFIX
from service.ops.words import Said, delivery_said, problem, sentence, soon, span
from service.storage.tables import Attempt, Callback, Delivery, Event, Training, WebhookEndpoint

_LONGEST_BODY = 4096
_EVENTS = {
    EventType.STARTED: "PhotoGPT confirmed that it trains",
    EventType.OVERDUE: "Overdue: it takes longer than trainings do",
    EventType.SUSPENDED: "Suspended: PhotoGPT refused the key three times",
    EventType.READY: "Ready",
    EventType.DELETED: "Deleted at PhotoGPT",
    EventType.REJECTED: "Rejected by PhotoGPT",
    EventType.FAILED: "Failed",
    EventType.EXPIRED: "Expired: watched to no end",
    EventType.CANCELLED: "Cancelled: the watch was stopped",
    EventType.ENDPOINT_DISABLED: "The webhook endpoint was disabled",
}
_TONES = {
    EventType.READY: "good",
    EventType.STARTED: "busy",
    EventType.OVERDUE: "wait",
    EventType.CANCELLED: "quiet",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened, or will. `details`: named texts to be unfolded. `link`: of what it belongs to."""

    at: datetime | None
    tone: str
    title: str
    text: str = ""
    link: str | None = None
    details: tuple[tuple[str, str], ...] = ()
    to_come: bool = False
    unfolded: bool = False


@dataclass(frozen=True, slots=True)
class Sending:
    """A delivery with all that belongs to it."""

    row: Delivery
    url: str
    attempts: Sequence[Attempt]
    endpoint: WebhookEndpoint | None
    said: Said
    model_id: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What was read of one training."""

    row: Training
    callbacks: Sequence[Callback]
    events: Sequence[Event]
    sendings: Sequence[Sending]
    place: int | None = None


def sendings(
    deliveries: Sequence[Delivery],
    attempts: Sequence[Attempt],
    urls: Mapping[str, str],
    endpoints: Mapping[str, WebhookEndpoint],
    *,
    models: Mapping[str, str],
    now: datetime,
    steps: int,
) -> list[Sending]:
    """Each delivery with its attempts, first to last, and what is to be said of it."""
    by_delivery: dict[str, list[Attempt]] = {row.id: [] for row in deliveries}
    for attempt in sorted(attempts, key=lambda attempt: attempt.number):
        by_delivery[attempt.delivery_id].append(attempt)
    found = []
    for row in deliveries:
        endpoint = endpoints.get(row.endpoint_id or "")
        own = endpoint.retry_schedule if endpoint is not None else None
        said = delivery_said(row, by_delivery[row.id], endpoint, now, len(own) if own else steps)
        url = shown_url(urls.get(row.callback_id or row.endpoint_id or "", ""))
        found.append(Sending(row, url, by_delivery[row.id], endpoint, said, models.get(row.training_id or "")))
    return found


def story_of(told: Told, now: datetime) -> list[Moment]:
    """Oldest first; what is to come at the end."""
    row = told.row
    moments = [_asked(told)]
    if row.submitted_at is not None and row.submitted_at - row.created_at > timedelta(seconds=1):
        moments.append(Moment(row.submitted_at, "busy", "Its turn in the queue came"))
    if row.triggered_at is not None:
        said = f"It said “{row.baseline_status}” before." if row.baseline_status else ""
        moments.append(Moment(row.triggered_at, "busy", "Triggered at PhotoGPT", said))
    if row.last_polled_at is not None:
        moments.append(_polled(row))
    moments += [_happened(event) for event in told.events]
    moments += [_tried(sending, attempt) for sending in told.sendings for attempt in sending.attempts]
    # In one moment what led to the other comes first, as they stand here.
    moments.sort(key=lambda moment: moment.at or now)
    return moments + _to_come(told, now)


def attempts_told(sending: Sending, body: bytes | None) -> list[Moment]:
    """The attempts of one delivery, the newest first, and that one with all that is known of it."""
    newest_first = list(reversed(sending.attempts))
    return [_tried(sending, attempt, body, unfolded=attempt is newest_first[0]) for attempt in newest_first]


def why_nobody_was_told(told: Told) -> str | None:
    """Of a training that has ended, and whose end went to nobody."""
    if told.row.status not in TERMINAL or any(_is_end(told, sending) for sending in told.sendings):
        return None
    if told.row.status == Status.REJECTED and told.row.triggered_at is None and not told.sendings:
        return "PhotoGPT refused while the caller waited: the answer said so, and then no webhook is sent."
    if told.callbacks:
        return "Its callbacks are not subscribed to this kind of end, and no webhook endpoint was either."
    return "Nobody was to be told: the request named no callback, and no webhook endpoint was subscribed to this."


def _is_end(told: Told, sending: Sending) -> bool:
    return any(event.terminal and event.id == sending.row.event_id for event in told.events)


def _asked(told: Told) -> Moment:
    row = told.row
    given: dict[str, Any] = {"model_id": row.model_id}
    if told.callbacks:
        given["callbacks"] = [
            {"url": shown_url(callback.url), "events": callback.events} for callback in told.callbacks
        ]
    if row.caller_metadata:
        given["metadata"] = row.caller_metadata
    many = len(told.callbacks)
    whom = f"{many} callback{'s' if many > 1 else ''}" if many else "no callback"
    text = f"With {whom}" + (", to wait in the queue if there is no room" if row.queues else "") + "."
    return Moment(row.created_at, "quiet", "A training was requested", text, details=(("The request", _pretty(given)),))


def _polled(row: Training) -> Moment:
    many = f"{row.readings} reading{'s' if row.readings != 1 else ''} so far" if row.readings else "No reading so far"
    said = f"; PhotoGPT said “{row.upstream_status[:40]}”" if row.upstream_status else ""
    if row.not_found_count and row.finished_at is None:
        said += f"; {row.not_found_count} times “not found” in a row"
    if row.key_refused_count and row.finished_at is None:
        said += f"; the key was refused {row.key_refused_count} times in a row"
    return Moment(row.last_polled_at, "quiet", "Last poll", f"{many}{said}.")


def _happened(event: Event) -> Moment:
    kind = EventType(event.type)
    body = event.body.decode("utf-8", "replace")
    failure = _failure(body)
    return Moment(
        event.created_at,
        _TONES.get(kind, "bad"),
        _EVENTS[kind],
        failure,
        details=((f"The event {event.id}", _pretty_body(body)),),
    )


def _tried(sending: Sending, attempt: Attempt, body: bytes | None = None, *, unfolded: bool = False) -> Moment:
    """With the body on the delivery's own page, where all attempts are its."""
    why = problem(attempt)
    took = f" after {span(timedelta(milliseconds=attempt.duration_ms))}" if attempt.duration_ms is not None else ""
    if why is not None:
        tone, title, text = "bad", f"Attempt {attempt.number} failed", sentence(f"{why}{took}")
    elif attempt.status_code is not None:
        tone, title, text = "good", f"Attempt {attempt.number} arrived", f"HTTP {attempt.status_code}{took}."
    else:
        tone, title, text = "busy", f"Attempt {attempt.number} is under way", ""
    request = (
        f"POST {sending.url}\nwebhook-id: {sending.row.event_id}\n"
        f"webhook-timestamp: {int(attempt.started_at.timestamp())} ({rfc3339(attempt.started_at)})\n"
        f"webhook-signature: ***"
    )
    if body is not None:
        request += "\n\n" + _pretty_body(body.decode("utf-8", "replace"))
    answer = f"HTTP {attempt.status_code}" if attempt.status_code is not None else "no answer"
    if attempt.excerpt:
        answer += "\n\n" + attempt.excerpt
    details = (("What was sent", request), ("What was answered", answer))
    if body is not None:
        return Moment(attempt.started_at, tone, title, text, details=details, unfolded=unfolded)
    title += f": {sending.row.event_type} to {sending.row.host}"
    return Moment(attempt.started_at, tone, title, text, _link(sending), details)


def _to_come(told: Told, now: datetime) -> list[Moment]:
    row, found = told.row, []
    for sending in told.sendings:
        due_at = sending.row.due_at
        if due_at is not None and due_at > now and not _under_way(sending):
            title = f"Next attempt {soon(due_at, now)}: {sending.row.event_type} to {sending.row.host}"
            found.append(Moment(due_at, "wait", title, link=_link(sending), to_come=True))
    if row.finished_at is None and row.due_at is not None and row.status != Status.QUEUED:
        found.append(Moment(row.due_at, "wait", f"Next poll {soon(row.due_at, now)}", to_come=True))
    return sorted(found, key=lambda moment: moment.at or now)


def _link(sending: Sending) -> str:
    return f"{PREFIX}/deliveries/{sending.row.id}"


def _under_way(sending: Sending) -> bool:
    last = sending.attempts[-1] if sending.attempts else None
    return last is not None and last.duration_ms is None and last.error_class is None


def _failure(body: str) -> str:
    try:
        failure = json.loads(body)["data"].get("failure")
    except (ValueError, KeyError, AttributeError):
        return ""
    return str(failure["message"]) if isinstance(failure, dict) and "message" in failure else ""


def _pretty_body(body: str) -> str:
    try:
        return _pretty(json.loads(body))
    except ValueError:
        return body[:_LONGEST_BODY]


def _pretty(value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text if len(text) <= _LONGEST_BODY else text[:_LONGEST_BODY] + "\n…"
