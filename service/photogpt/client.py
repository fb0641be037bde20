"""Calls PhotoGPT: read a model, trigger a training, try a key. Failures are values; nothing is repeated here."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from service.clock import Clock
from service.crashpoints import CrashPoint, reached
from service.domain.backoff import LONGEST_POLL_WAIT
from service.domain.calls import CallKind, OnCall, uncounted
from service.domain.errors import UpstreamRefused, UpstreamUnreachable
from service.domain.secret import Secret
from service.domain.training import Observation, Seen, Unreadable
from service.outbound.exchange import Answer, NoAnswer, Outbound
from service.photogpt.answers import (
    NotReached,
    Refused,
    TriggerResult,
    Unclear,
    model_reading,
    reading_refused,
    says_ok,
    trigger_result,
)
from service.photogpt.listing import Listed, listing
from service.telemetry.tracing import Kind, Tracer

# Cloudflare refuses some libraries' default agents with its error 1010 (photogpt-facts 1).
_USER_AGENT = "photogpt-webhooks/0.1"
# A list of some 20,000 models.
_LONGEST_LIST = 4 * 1024**2
_MASK = "***"
# So many characters of a key are a part of it, and no coincidence.
_TELLING = 4


class PhotoGPT:
    """`reads` may keep connections; `triggers` must not, so that a trigger never goes over a stale one.

    `on_call` hears of each call as it is made. PhotoGPT is told of no trace.
    """

    def __init__(
        self,
        base_url: str,
        *,
        reads: Outbound,
        triggers: Outbound,
        clock: Clock,
        on_call: OnCall = uncounted,
        tracer: Tracer | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._reads = reads
        self._triggers = triggers
        self._clock = clock
        self._on_call = on_call
        self._tracer = tracer or Tracer()

    async def poll(self, key: Secret, model_id: str) -> Seen:
        """What the model says now; whatever goes wrong is a value that says nothing about the model."""
        self._on_call(CallKind.POLL)
        seen, _ = await self._read_model(key, model_id)
        return seen

    async def models(self, key: Secret) -> Listed:
        """What all models of the key say now, in one call; whatever goes wrong is a value."""
        self._on_call(CallKind.SWEEP)
        url = f"{self._base_url}/models"
        try:
            answer = await self._reads.send("GET", url, _headers(key), body_limit=_LONGEST_LIST)
        except NoAnswer as failure:
            return Unreadable(str(failure), outage=True)
        return listing(answer, self._clock.now())

    async def baseline(self, key: Secret, model_id: str) -> Observation:
        """The model before it is triggered, which also shows that key and model are good.

        Raises UpstreamRefused with PhotoGPT's status and words, or UpstreamUnreachable: either way nothing was
        triggered, and the caller may ask again.
        """
        self._on_call(CallKind.BASELINE)
        with self._tracer.span("baseline", kind=Kind.CLIENT, model_id=model_id):
            seen, answer = await self._read_model(key, model_id)
        if isinstance(seen, Observation):
            return seen
        raise self._refusal(seen, answer, "the model", key)

    async def check_key(self, key: Secret) -> None:
        """Raises UpstreamRefused or UpstreamUnreachable unless PhotoGPT accepts the key."""
        self._on_call(CallKind.KEY_CHECK)
        try:
            answer = await self._reads.send("GET", f"{self._base_url}/models", _headers(key))
        except NoAnswer as failure:
            raise self._refusal(Unreadable(str(failure)), None, "the key", key) from failure
        if not says_ok(answer):
            raise self._refusal(model_reading(answer, "", self._clock.now()), answer, "the key", key)

    async def trigger(self, key: Secret, model_id: str) -> TriggerResult:
        """Start the training, once: at PhotoGPT this is a GET with a side effect, so it is never repeated."""
        self._on_call(CallKind.TRIGGER)
        with self._tracer.span("trigger", kind=Kind.CLIENT, model_id=model_id) as span:
            result = await self._trigger(key, model_id)
            span.note(result=type(result).__name__)
        return result

    async def _trigger(self, key: Secret, model_id: str) -> TriggerResult:
        headers = {**_headers(key), "cache-control": "no-store"}
        try:
            answer = await self._triggers.send("GET", f"{self._model_url(model_id)}/train", headers)
        except NoAnswer as failure:
            reason = str(failure)
            return Unclear(reason) if failure.sent else NotReached(reason)
        reached(CrashPoint.TRIGGER_ANSWERED)
        result = trigger_result(answer, self._clock.now())
        return replace(result, message=_masked(result.message, key)) if isinstance(result, Refused) else result

    async def close(self) -> None:
        await self._reads.close()
        await self._triggers.close()

    async def _read_model(self, key: Secret, model_id: str) -> tuple[Seen, Answer | None]:
        try:
            answer = await self._reads.send("GET", self._model_url(model_id), _headers(key))
        except NoAnswer as failure:
            return Unreadable(str(failure), outage=True), None
        return model_reading(answer, model_id, self._clock.now()), answer

    def _refusal(
        self, seen: Seen, answer: Answer | None, what: str, key: Secret
    ) -> UpstreamRefused | UpstreamUnreachable:
        """Why a caller who waits can't have what it wants: PhotoGPT's own refusal, or that it can't be asked now."""
        refused = None if answer is None else reading_refused(answer, self._clock.now())
        if refused is not None:
            waits = refused.retry_after
            seconds = None if waits is None else round(min(waits, LONGEST_POLL_WAIT).total_seconds())
            message = _masked(refused.message, key)
            return UpstreamRefused(refused.status, message, retry_after=seconds, reply=refused.reply)
        reason = seen.reason if isinstance(seen, Unreadable) else "no answer"
        return UpstreamUnreachable(
            f"PhotoGPT could not be asked about {what} ({reason}). Nothing was triggered; try again."
        )

    def _model_url(self, model_id: str) -> str:
        return f"{self._base_url}/models/{quote(model_id, safe='')}"


def _headers(key: Secret) -> dict[str, str]:
    return {
        "authorization": f"Bearer {key.reveal()}",
        "api-version": "1",  # needed on every request (docs/getting-started)
        "accept": "application/json",
        "user-agent": _USER_AGENT,
    }


def _masked(message: str, key: Secret) -> str:
    """PhotoGPT's words are stored, shown and sent on: a key that it repeats in them must not be."""
    text = key.reveal()
    message = message.replace(text, _MASK)
    # Its words are cut to a length, which may be inside the key.
    for length in range(len(text) - 1, _TELLING - 1, -1):
        if message.endswith(text[:length]):
            return message[:-length] + _MASK
    return message
