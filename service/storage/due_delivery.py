"""A delivery in a worker's hands, as values: what is sent where, signed with what; and what claims must leave alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import func, select

from service.storage import prepared
from service.storage.statement import Statement, listed
from service.storage.tables import Delivery


@dataclass(frozen=True, slots=True)
class Target:
    """Where a delivery goes: a callback (`training_id` is set) or a webhook endpoint. What is sealed stays sealed.

    `sealed_secrets` are its own, those of a rotation included; without any, its tenant's sign.
    """

    id: str
    url: str
    sealed_secrets: tuple[bytes, ...]
    sealed_headers: bytes | None
    is_endpoint: bool


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A claimed delivery: the stored bytes, where they go, and what they are signed with (sealed).

    `schedule`: seconds before each attempt, where the webhook endpoint has its own.
    """

    id: str
    fence: int
    attempt_id: str
    attempts_made: int
    is_retry: bool
    event_id: str
    training_id: str | None
    tenant_id: str
    host: str
    body: bytes
    target: Target
    sealed_tenant_secrets: tuple[bytes, ...]
    schedule: tuple[float, ...] | None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class SendLimits:
    """What a claim of deliveries must leave alone.

    `busy` are deliveries that this process attempts now: no jump of the clock makes it attempt them twice at once.
    `rooms`: how many more attempts each known host may have, `others` each other one; `crowded`: one of them has none
    for now. `tenants` and `per_tenant` are the same for those whose deliveries they are. `retries`: how many of the
    claimed may have been attempted before.
    """

    busy: Collection[str] = ()
    rooms: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    others: int | None = None
    crowded: bool = False
    tenants: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    per_tenant: int | None = None
    retries: int | None = None

    @property
    def full(self) -> list[str]:
        return [host for host, room in self.rooms.items() if room <= 0]

    @property
    def full_tenants(self) -> list[str]:
        return [tenant_id for tenant_id, room in self.tenants.items() if room <= 0]

    def fitting(self, due: Sequence[tuple[str, str, str, int]]) -> list[str]:
        """Of `(id, host, tenant, attempts started)` the ids that fit into the rooms of their hosts and tenants, and as
        many retries as may be.
        """
        at_hosts, of_tenants, retries = Counter[str](), Counter[str](), 0
        chosen = []
        for row_id, host, tenant_id, started in due:
            if self.retries is not None and started > 0 and retries >= self.retries:
                continue
            if at_hosts[host] >= self._room_at(host) or of_tenants[tenant_id] >= self._room_of(tenant_id):
                continue
            at_hosts[host] += 1
            of_tenants[tenant_id] += 1
            retries += started > 0
            chosen.append(row_id)
        return chosen

    def left_out_by(self, claimed: Sequence[DueDelivery]) -> bool:
        """Whether more may be due, for which there will be room as soon as an attempt ends."""
        if self.crowded or self.full_tenants:
            return True
        if self.retries is not None and sum(due.is_retry for due in claimed) >= self.retries:
            return True
        hosts, tenants = Counter(due.host for due in claimed), Counter(due.tenant_id for due in claimed)
        return any(count >= self._room_at(host) for host, count in hosts.items()) or any(
            count >= self._room_of(tenant_id) for tenant_id, count in tenants.items()
        )

    def _room_at(self, host: str) -> float:
        return math.inf if self.others is None else self.rooms.get(host, self.others)

    def _room_of(self, tenant_id: str) -> float:
        return math.inf if self.per_tenant is None else self.tenants.get(tenant_id, self.per_tenant)


class Content(NamedTuple):
    """What belongs to a claimed delivery: the body of its event; what its tenant, and what its target signs with, each
    with its previous secret and until when that one signs, too; and where it goes.
    """

    delivery_id: str
    body: bytes
    traceparent: str | None
    tenant_secret: bytes
    previous_tenant_secret: bytes | None
    previous_tenant_secret_until: datetime | None
    url: str
    secret: bytes | None
    previous_secret: bytes | None
    previous_secret_until: datetime | None
    headers: bytes | None
    retry_schedule: list[float] | None


def due_delivery(row: Delivery, attempt_id: str, content: Content, now: datetime) -> DueDelivery:
    """What a worker gets of a claimed row and what belongs to it."""
    secrets = (
        ()
        if content.secret is None
        else current_secrets(content.secret, content.previous_secret, content.previous_secret_until, now)
    )
    return DueDelivery(
        id=row.id,
        fence=row.fence,
        attempt_id=attempt_id,
        attempts_made=row.attempts_made,
        is_retry=row.attempts_started > 1,
        event_id=row.event_id,
        training_id=row.training_id,
        tenant_id=row.tenant_id,
        host=row.host,
        body=content.body,
        target=Target(
            row.callback_id or row.endpoint_id or "",
            content.url,
            secrets,
            content.headers,
            is_endpoint=row.endpoint_id is not None,
        ),
        sealed_tenant_secrets=current_secrets(
            content.tenant_secret, content.previous_tenant_secret, content.previous_tenant_secret_until, now
        ),
        schedule=None if content.retry_schedule is None else tuple(content.retry_schedule),
        traceparent=content.traceparent,
    )


def current_secrets(secret: bytes, previous: bytes | None, until: datetime | None, now: datetime) -> tuple[bytes, ...]:
    """What signs at `now`: the secret, and while it is being rotated the previous one after it."""
    return (secret, previous) if previous is not None and until is not None and now < until else (secret,)


_DELIVERIES, _EVENTS, _TENANTS = prepared.DELIVERIES, prepared.EVENTS, prepared.TENANTS
_TRAININGS, _CALLBACKS, _ENDPOINTS = prepared.TRAININGS, prepared.CALLBACKS, prepared.ENDPOINTS
# Of the deliveries in the list `deliveries`.
CONTENTS = Statement(
    select(
        _DELIVERIES.c.id,
        _EVENTS.c.body,
        _TRAININGS.c.traceparent,
        _TENANTS.c.sealed_signing_secret,
        _TENANTS.c.sealed_previous_secret,
        _TENANTS.c.previous_secret_until,
        func.coalesce(_CALLBACKS.c.url, _ENDPOINTS.c.url),
        func.coalesce(_CALLBACKS.c.sealed_secret, _ENDPOINTS.c.sealed_secret),
        _ENDPOINTS.c.sealed_previous_secret,
        _ENDPOINTS.c.previous_secret_until,
        func.coalesce(_CALLBACKS.c.sealed_headers, _ENDPOINTS.c.sealed_headers),
        _ENDPOINTS.c.retry_schedule,
    )
    .select_from(_DELIVERIES)
    .join(_EVENTS, _EVENTS.c.id == _DELIVERIES.c.event_id)
    .join(_TENANTS, _TENANTS.c.id == _DELIVERIES.c.tenant_id)
    .outerjoin(_TRAININGS, _TRAININGS.c.id == _DELIVERIES.c.training_id)
    .outerjoin(_CALLBACKS, _CALLBACKS.c.id == _DELIVERIES.c.callback_id)
    .outerjoin(_ENDPOINTS, _ENDPOINTS.c.id == _DELIVERIES.c.endpoint_id)
    .where(listed(_DELIVERIES.c.id, "deliveries")),
    Content._make,
)
