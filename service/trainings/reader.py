"""Reads at PhotoGPT with a tenant's key, one model or all of them, while somebody there answers."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from service.clock import Clock
from service.domain.breaker import Breaker
from service.domain.secret import Secret
from service.domain.training import KeyRefused, Observation, Rules, Seen, Unreadable
from service.photogpt.client import PhotoGPT
from service.photogpt.listing import Listed
from service.storage.due_training import DueTraining
from service.telemetry.logging import get_logger
from service.telemetry.tracing import Kind, Tracer
from service.tenancy import Tenancy
from service.vault import SealBroken

T = TypeVar("T")
_log = get_logger("poller")

# While nobody answers, one poll in this time; at short intervals (tests) never less often than a model is due anyway.
_PROBE_EVERY = timedelta(seconds=30)
NOT_ASKED = Unreadable("upstream_down", outage=True)


class Reader:
    def __init__(self, *, photogpt: PhotoGPT, tenancy: Tenancy, rules: Rules, clock: Clock, tracer: Tracer) -> None:
        self._photogpt = photogpt
        self._tracer = tracer
        self._tenancy = tenancy
        self._breaker = Breaker(probe_every=min(_PROBE_EVERY, rules.poll_interval))
        self._clock = clock

    @property
    def upstream_down(self) -> bool:
        """Whether nobody at PhotoGPT has answered lately, so that it is asked only now and then."""
        return self._breaker.open

    async def model(self, due: DueTraining) -> Seen:
        with self._tracer.span(
            "poll", parent=due.traceparent, kind=Kind.CLIENT, training_id=due.id, model_id=due.model_id
        ) as span:
            key = self._key(due.tenant_id, due.sealed_key)
            seen = self._heard(await self._photogpt.poll(key, due.model_id)) if isinstance(key, Secret) else key
            span.note(seen=type(seen).__name__)
            if isinstance(seen, Observation):
                span.note(upstream_status=seen.raw_status)
            elif isinstance(seen, Unreadable):
                span.fail(seen.reason)
        return seen

    async def models(self, tenant_id: str, sealed_key: bytes | None) -> Listed:
        with self._tracer.span("sweep", kind=Kind.CLIENT, tenant_id=tenant_id) as span:
            key = self._key(tenant_id, sealed_key)
            listed = self._heard(await self._photogpt.models(key)) if isinstance(key, Secret) else key
            span.note(seen=type(listed).__name__)
        return listed

    def _key(self, tenant_id: str, sealed_key: bytes | None) -> Secret | KeyRefused | Unreadable:
        """What to ask with; or what there is to say without asking."""
        try:
            key = self._tenancy.key_for_polls(tenant_id, sealed_key)
        except SealBroken as broken:
            _log.error("key_unreadable", tenant_id=tenant_id, reason=str(broken))
            return Unreadable("key_unreadable")
        if key is None:
            return KeyRefused()
        return key if self._breaker.lets_pass(self._clock.monotonic()) else NOT_ASKED

    def _heard(self, seen: T) -> T:
        """`seen` of PhotoGPT, which says whether it is up as a whole, too."""
        if not (isinstance(seen, Unreadable) and seen.outage):
            if self._breaker.succeeded():
                _log.info("upstream_recovered")
        elif self._breaker.failed(self._clock.monotonic()):
            _log.warning("upstream_down", reason=seen.reason, probe_every=self._breaker.probe_every.total_seconds())
        return seen
