"""Webhook endpoints: subscribe, read, change, pause, rotate the secret, delete. Secrets are shown once, when made."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from service.clock import Clock
from service.domain import ids
from service.domain.egress import host_of
from service.domain.endpoint import EndpointStatus
from service.domain.errors import Conflict, NotFound, RateLimited
from service.domain.event import DEFAULT_ENDPOINT_EVENTS
from service.keyring import Keyring
from service.outbound.guard import Guard
from service.storage.database import Database, UnitOfWork
from service.storage.tables import WebhookEndpoint
from service.telemetry.logging import get_logger
from service.tenancy import Caller, Tenancy
from service.webhooks.once import Once, OnceKey
from service.webhooks.request import EndpointFields, checked_fields
from service.webhooks.resource import endpoint_resource

_log = get_logger("endpoints")

# None goes by itself: whoever waits does so for another program of its own.
_RETRY_AFTER_TOO_MANY = 60


class Endpoints:
    def __init__(
        self,
        *,
        database: Database,
        tenancy: Tenancy,
        keyring: Keyring,
        once: Once,
        guard: Guard,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._database = database
        self._tenancy = tenancy
        self._keyring = keyring
        self._once = once
        self._guard = guard
        self._clock = clock
        self._rng = rng

    async def create(self, caller: Caller, given: Mapping[str, Any], key: OnceKey | None) -> dict[str, Any]:
        """The new endpoint with its `secret`, or the one that the same request made before.

        Raises InvalidRequest, UpstreamRefused for a PhotoGPT key never seen that is no good, IdempotencyMismatch,
        RateLimited when there are too many, and Conflict when the one made before was deleted.
        """
        fields = checked_fields(given, canonical=self._guard.canonical)
        await self._tenancy.admit(caller)
        if fields.url is not None:
            await self._guard.check(fields.url, "/url")
        made = await self._database.transaction(lambda unit: self._create(unit, caller, fields, key))
        _log.info("endpoint_made", endpoint_id=made["id"], tenant_id=caller.tenant_id)
        return made

    async def change(self, caller: Caller, endpoint_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """The endpoint after the change. Raises InvalidRequest and NotFound."""
        fields = checked_fields(given, canonical=self._guard.canonical)
        if fields.url is not None:
            await self._database.read(lambda unit: held(unit, caller, endpoint_id, hold=False))
            await self._guard.check(fields.url, "/url")
        changed = await self._database.transaction(lambda unit: self._change(unit, caller, endpoint_id, fields))
        what = sorted(fields.given)
        _log.info("endpoint_changed", endpoint_id=endpoint_id, tenant_id=caller.tenant_id, fields=what)
        return changed

    async def rotate(self, caller: Caller, endpoint_id: str, secret: str | None, overlap: timedelta) -> dict[str, Any]:
        """The endpoint with its new `secret`; the old one signs, too, for `overlap`. Raises NotFound."""
        rotated = await self._database.transaction(
            lambda unit: self._rotate(unit, caller, endpoint_id, secret or self._keyring.new_secret(), overlap)
        )
        _log.info("endpoint_secret_rotated", endpoint_id=endpoint_id, tenant_id=caller.tenant_id)
        return rotated

    async def delete(self, caller: Caller, endpoint_id: str) -> None:
        """Nothing more is sent there, what waits included, and its secrets are erased. Raises NotFound."""
        await self._database.transaction(lambda unit: self._delete(unit, caller, endpoint_id))
        _log.info("endpoint_deleted", endpoint_id=endpoint_id, tenant_id=caller.tenant_id)

    def _create(self, unit: UnitOfWork, caller: Caller, fields: EndpointFields, key: OnceKey | None) -> dict[str, Any]:
        now = self._clock.now()
        self._tenancy.ensure(unit, caller)
        made = self._once.earlier(unit, caller, key)
        if made is not None:
            endpoint = unit.endpoints.get(caller.tenant_id, made)
            if endpoint is None:
                raise Conflict("The webhook endpoint that this request made was deleted.", code="target_gone")
            return self._with_secret(endpoint)
        unit.tenants.hold(caller.tenant_id)
        most = self._tenancy.limits.endpoints
        if unit.endpoints.count(caller.tenant_id) >= most:
            raise RateLimited(
                f"You have {most} webhook endpoints, which is the most. Delete one that you do not need.",
                code="too_many_endpoints",
                retry_after=_RETRY_AFTER_TOO_MANY,
            )
        endpoint_id = ids.new_id(ids.ENDPOINT, now, self._rng)
        endpoint = WebhookEndpoint(
            **{"events": sorted(DEFAULT_ENDPOINT_EVENTS), "status": EndpointStatus.ACTIVE, **fields.columns()},
            **self._sealed_headers(endpoint_id, fields),
            id=endpoint_id,
            tenant_id=caller.tenant_id,
            sealed_secret=self._keyring.seal_secret(endpoint_id, fields.secret or self._keyring.new_secret()),
            created_at=now,
            updated_at=now,
        )
        unit.endpoints.add(endpoint)
        self._once.made(unit, caller, key, endpoint.id)
        return self._with_secret(endpoint)

    def _change(self, unit: UnitOfWork, caller: Caller, endpoint_id: str, fields: EndpointFields) -> dict[str, Any]:
        now = self._clock.now()
        endpoint = held(unit, caller, endpoint_id)
        # As values: the change is seen in this row, too.
        url_before, status_before = endpoint.url, endpoint.status
        changes = {**fields.columns(), **self._sealed_headers(endpoint_id, fields), "updated_at": now}
        status = changes.get("status", status_before)
        if status_before == EndpointStatus.DISABLED != status:
            changes |= {"disabled_reason": None, "failing_since": None, "last_problem": None}
        after = unit.endpoints.change(endpoint_id, changes)
        if after.url != url_before:
            unit.deliveries.redirect(endpoint_id, host=host_of(after.url))
        if status == EndpointStatus.PAUSED != status_before:
            unit.deliveries.hold(endpoint_id)
        elif status == EndpointStatus.ACTIVE != status_before:
            unit.deliveries.release(endpoint_id, now=now)
        return endpoint_resource(after)

    def _rotate(
        self, unit: UnitOfWork, caller: Caller, endpoint_id: str, secret: str, overlap: timedelta
    ) -> dict[str, Any]:
        now = self._clock.now()
        before = held(unit, caller, endpoint_id)
        changes = {
            "sealed_secret": self._keyring.seal_secret(endpoint_id, secret),
            "sealed_previous_secret": before.sealed_secret if overlap else None,
            "previous_secret_until": now + overlap if overlap else None,
            "updated_at": now,
        }
        return {**endpoint_resource(unit.endpoints.change(endpoint_id, changes)), "secret": secret}

    def _delete(self, unit: UnitOfWork, caller: Caller, endpoint_id: str) -> None:
        now = self._clock.now()
        held(unit, caller, endpoint_id)
        erased: dict[str, Any] = {
            "sealed_secret": b"",
            "sealed_previous_secret": None,
            "sealed_headers": None,
            "header_names": [],
        }
        unit.endpoints.change(endpoint_id, {**erased, "deleted_at": now, "updated_at": now})
        unit.deliveries.bury(endpoint_id, now=now)

    def _sealed_headers(self, endpoint_id: str, fields: EndpointFields) -> dict[str, Any]:
        if fields.headers is None:
            return {}
        sealed = self._keyring.seal_headers(endpoint_id, fields.headers)
        return {"sealed_headers": sealed, "header_names": sorted(fields.headers)}

    def _with_secret(self, endpoint: WebhookEndpoint) -> dict[str, Any]:
        secret = self._keyring.open_secret(endpoint.id, endpoint.sealed_secret)
        return {**endpoint_resource(endpoint), "secret": secret.reveal()}


def held(unit: UnitOfWork, caller: Caller, endpoint_id: str, *, hold: bool = True) -> WebhookEndpoint:
    """The caller's endpoint, which with `hold` nobody else changes before the end of this transaction.

    Raises NotFound.
    """
    endpoint = unit.endpoints.get(caller.tenant_id, endpoint_id, hold=hold)
    if endpoint is None:
        raise NotFound("There is no such webhook endpoint.")
    return endpoint
