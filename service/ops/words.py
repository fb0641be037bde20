"""Rows in plain words: what state something is in, why, what happens next and when, and what can be done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from service.domain.delivery import GONE, AttemptOutcome, DeliveryStatus, ErrorClass
from service.domain.endpoint import DisabledReason, EndpointStatus
from service.domain.training import TERMINAL, Status
from service.storage.tables import Attempt, Delivery, Training, WebhookEndpoint
from service.webhooks.problem import problem_of

_TRAINING = {
    Status.QUEUED: "It waits for a free training slot at PhotoGPT. Nothing was triggered yet.",
    Status.SUBMITTING: "The trigger was sent, and PhotoGPT has not confirmed it yet. It is read again, never triggered "
    "twice.",
    Status.TRAINING: "PhotoGPT is training it.",
    Status.READY: "PhotoGPT has trained it: it is ready.",
    Status.DELETED: "PhotoGPT says that the model is deleted.",
    Status.REJECTED: "PhotoGPT refused to train it.",
    Status.FAILED: "It has failed.",
    Status.EXPIRED: "It was watched for as long as trainings are, and came to no end. The watch was given up.",
    Status.CANCELLED: "Its watch was stopped.",
}
_REMEDIES = {
    ErrorClass.DNS: "Look whether the host name in the URL is spelt right, and known to this machine's DNS.",
    ErrorClass.REFUSED: "Look whether the receiver runs, and listens at the host and port of the URL.",
    ErrorClass.RESET: "Look into the receiver's log, or that of the proxy before it: it hung up.",
    ErrorClass.TLS: "Look at the receiver's certificate: is it valid, for this name, and sent with its chain?",
    ErrorClass.TIMEOUT: "Let the receiver answer first and work afterwards. If it is down, nothing has to be done.",
    ErrorClass.PROTOCOL: "Look whether something else than an HTTP server listens there, or one that wants https.",
    ErrorClass.CONNECT: "Look whether that host can be reached from here: routes, firewalls, network policies.",
    ErrorClass.BLOCKED: "If that address is meant, name it in GATEWAY_CALLBACK_ALLOW and restart; else mend the URL.",
    ErrorClass.EGRESS_PROXY: "Look at the proxy that GATEWAY_EGRESS_PROXY names.",
    ErrorClass.INTERRUPTED: "A gateway process ended while it sent this. It is sent again by itself.",
    ErrorClass.UNSIGNED: "Start the gateway with the GATEWAY_MASTER_KEY that the secret was stored under.",
    ErrorClass.HTTP_3XX: "The address has moved: have the new one given, or subscribed, in its place.",
    ErrorClass.HTTP_4XX: "The receiver refuses it. Look at its log: a wrong path or secret, or a check of its own.",
    ErrorClass.HTTP_5XX: "The receiver fails while it handles it. Look at its log, and at what it answered.",
}


@dataclass(frozen=True, slots=True)
class Said:
    """`tone`: good, bad, busy, wait or quiet, which is how it looks. `remedy`: what can be done, if anything."""

    tone: str
    text: str
    remedy: str | None = None


def problem(attempt: Attempt) -> str | None:
    """Why an attempt failed; None if it did not."""
    if attempt.error_class is None and attempt.status_code is None:
        return None
    error = None if attempt.error_class is None else ErrorClass(attempt.error_class)
    if error is ErrorClass.INTERRUPTED:
        return "interrupted: the gateway ended before the outcome was known"
    if attempt.status_code == GONE:
        return "the receiver answered HTTP 410, which means “no more”"
    said = problem_of(AttemptOutcome(attempt.status_code, error, timedelta(0)))
    # The class is for programs, where a sentence follows it.
    return said and said.removeprefix(f"{error}: ")


def remedy(attempt: Attempt) -> str | None:
    if attempt.status_code == GONE:
        return "It wants no more of these, and gets none. If that is wrong, mend the receiver, and resend."
    return None if attempt.error_class is None else _REMEDIES.get(ErrorClass(attempt.error_class))


def training_said(row: Training, now: datetime, place: int | None = None) -> Said:
    """`place`: in the queue."""
    status = Status(row.status)
    text = _TRAINING[status]
    if status is Status.QUEUED and place is not None:
        text += f" It is number {place} of its queue."
    if status in TERMINAL:
        if row.failure_message:
            text += f" {row.failure_message}"
        tone = {Status.READY: "good", Status.CANCELLED: "quiet"}.get(status, "bad")
        return Said(tone, text)
    if row.suspended:
        return Said(
            "bad",
            "Suspended: PhotoGPT refuses its key, so it is not polled.",
            "It goes on by itself as soon as its owner calls the gateway with a key that works.",
        )
    polled = f" It was last asked {_ago(row.last_polled_at, now)}" if row.last_polled_at else ""
    if polled and row.upstream_status:
        polled += f", and PhotoGPT said “{row.upstream_status[:40]}”"
    following = f" Next poll {soon(row.due_at, now)}." if row.due_at and status is not Status.QUEUED else ""
    said = text + (polled + "." if polled else "") + following
    if row.overdue:
        return Said(
            "wait",
            f"Overdue: it takes longer than trainings do. {said}",
            "Nothing is lost: it is watched on. If PhotoGPT has forgotten it, stop the watch and train it again.",
        )
    return Said("wait" if status is not Status.TRAINING else "busy", said)


def delivery_said(
    row: Delivery, attempts: Sequence[Attempt], endpoint: WebhookEndpoint | None, now: datetime, steps: int
) -> Said:
    """`attempts`: its own, first to last; `endpoint`: where it goes, unless to a callback; `steps`: of its schedule."""
    last = attempts[-1] if attempts else None
    why = problem(last) if last else None
    if row.status == DeliveryStatus.DELIVERED:
        tries = f" at attempt {row.attempts_started}" if row.attempts_started > 1 else ""
        when = f" {_ago(row.finished_at, now)}" if row.finished_at else ""
        return Said("good", f"It arrived{when}{tries}.")
    if row.status == DeliveryStatus.DEAD:
        return _dead_said(row, last, why, endpoint)
    if row.due_at is None:
        return Said(
            "wait",
            "It has not arrived: it is held, since its webhook endpoint is paused." + (f" {_last(why)}" if why else ""),
            "Resume the webhook endpoint, and what was held is sent.",
        )
    if last is not None and why is None and last.duration_ms is None:
        return Said("busy", f"Attempt {last.number} is under way since {_ago(last.started_at, now)}.")
    if last is None:
        waits = "It is sent as soon as there is room: its host is busy or down, or an earlier event goes first."
        return Said("busy", "It is to be sent now." if now - row.created_at < timedelta(seconds=5) else waits)
    left = max(0, steps - row.attempts_made)
    following = f"Next attempt {soon(row.due_at, now)}" if row.due_at > now else "The next attempt is due now"
    many = f"; {left} more are planned" if left > 1 else "; it is the last one planned" if left else ""
    text = f"It has not arrived. {_last(why)} {following}{many}."
    return Said("bad", text, remedy(last))


def _dead_said(row: Delivery, last: Attempt | None, why: str | None, endpoint: WebhookEndpoint | None) -> Said:
    if endpoint is not None and endpoint.deleted_at is not None:
        return Said("bad", "It was given up: its webhook endpoint was deleted." + (f" {_last(why)}" if why else ""))
    if endpoint is not None and endpoint.status == EndpointStatus.DISABLED:
        reason = (
            "answered 410, which means “no more”"
            if endpoint.disabled_reason == DisabledReason.GONE
            else "failed for 5 days"
        )
        return Said(
            "bad",
            f"It was given up: its webhook endpoint is disabled, since it {reason}."
            + (f" {_last(why)}" if why else ""),
            "When the receiver works again, resume the endpoint, and recover what failed.",
        )
    if last is not None and last.status_code == GONE:
        return Said("bad", f"It was given up: {why}.", remedy(last))
    if last is None:
        return Said("bad", "It was given up before it was sent.", "Resend it, if it is still wanted.")
    text = (
        f"It was given up after {row.attempts_started} attempt{'s' if row.attempts_started != 1 else ''}. {_last(why)}"
    )
    advice = remedy(last)
    return Said("bad", text, f"{advice} Then resend it." if advice else "When the receiver works again, resend it.")


def endpoint_said(row: WebhookEndpoint, now: datetime) -> Said:
    if row.deleted_at is not None:
        return Said("quiet", f"Deleted {_ago(row.deleted_at, now)}; its deliveries stay listed.")
    if row.status == EndpointStatus.PAUSED:
        return Said("wait", "Paused: its events wait.", "Resume it, and what waits is sent.")
    if row.status == EndpointStatus.DISABLED:
        reason = "it answered 410" if row.disabled_reason == DisabledReason.GONE else "it failed for 5 days"
        return Said(
            "bad",
            f"Disabled: {reason}. Nothing is sent or kept for it.",
            "When it works again, resume it, and recover what failed.",
        )
    if row.failing_since is not None:
        return Said(
            "bad",
            f"Failing since {_ago(row.failing_since, now)}. {_last(row.last_problem)}",
            "After 5 days without one success it is disabled.",
        )
    return Said("good", "Active, and nothing has failed lately.")


def sentence(text: str) -> str:
    """`text` with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _last(why: str | None) -> str:
    return f"The last attempt failed: {why}." if why else "No attempt was answered."


def _ago(at: datetime | None, now: datetime) -> str:
    return "" if at is None else f"{span(now - at)} ago" if now - at >= timedelta(seconds=1) else "just now"


def soon(at: datetime, now: datetime) -> str:
    """`in 4 min (14:07:30 UTC)`."""
    return f"in {span(at - now)} ({clock(at)} UTC)" if at - now >= timedelta(seconds=1) else "now"


def span(time: timedelta) -> str:
    """A length of time, as one would say it."""
    seconds = max(0.0, time.total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def clock(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%H:%M:%S")


def moment(at: datetime, now: datetime) -> str:
    """The time alone if it is today's."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    return at.strftime("%H:%M:%S") if at.date() == now.date() else at.strftime("%d %b %H:%M:%S")
