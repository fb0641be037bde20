"""Repository of tenants: their sealed key, and the sealed secret that signs callbacks given without one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Exists, bindparam, exists, null, or_
from sqlmodel import col, select, update

from service.storage import prepared
from service.storage.insert import insert_if_new
from service.storage.rows import TenantRow
from service.storage.statement import Change
from service.storage.tables import Tenant, Training
from service.storage.transaction import Repository


class Tenants(Repository):
    def get(self, tenant_id: str) -> Tenant | None:
        return self._transaction.first(prepared.TENANT, tenant_id=tenant_id)

    def ensure(self, tenant_id: str, *, new_secret: Callable[[], bytes], now: datetime) -> Tenant:
        """The tenant, made with such a sealed signing secret if it is new. Safe when two requests make it at once."""
        known = self.get(tenant_id)
        if known is None:
            tenant = TenantRow(id=tenant_id, sealed_signing_secret=new_secret(), created_at=now)
            known = tenant if insert_if_new(self._transaction, tenant) else self.get(tenant_id)
        if known is None:
            raise LookupError(tenant_id)
        return known

    def some_sealed_secret(self) -> bytes | None:
        """The signing secret of whichever tenant, or None if there is no tenant."""
        return self._session.exec(select(Tenant.sealed_signing_secret).limit(1)).first()

    def hold(self, tenant_id: str) -> bool:
        """Whoever else holds this tenant waits for the end of this transaction, and then sees what it has stored.
        Whether its key is kept.
        """
        return any(kept for (kept,) in self._transaction.all(prepared.HOLD_TENANT, tenant_id=tenant_id))

    def rotate_secret(self, tenant_id: str, sealed: bytes, *, until: datetime | None) -> None:
        """A new signing secret; the one before signs, too, until then, or no more from now on."""
        previous = null() if until is None else col(Tenant.sealed_signing_secret)
        self._session.exec(
            update(Tenant)
            .where(col(Tenant.id) == tenant_id)
            .values(sealed_signing_secret=sealed, sealed_previous_secret=previous, previous_secret_until=until)
        )

    def keep_key(self, tenant_id: str, sealed_key: bytes) -> None:
        self._transaction.run(_KEEP_KEY, tenant_id=tenant_id, sealed_key=sealed_key)

    def pause_polls(self, tenant_id: str, *, until: datetime) -> None:
        """No poll uses this tenant's key before then, or before the end of a longer pause: of several polls that were
        told to wait at once, one may have been told for how long.
        """
        paused = col(Tenant.polls_paused_until)
        self._session.exec(
            update(Tenant)
            .where(col(Tenant.id) == tenant_id, or_(paused.is_(None), paused < until))
            .values(polls_paused_until=until)
        )

    def shorten_pauses(self, *, latest: datetime) -> None:
        """Let no pause last longer than until `latest`: for a wall clock that was put back."""
        self._session.exec(
            update(Tenant).where(col(Tenant.polls_paused_until) > latest).values(polls_paused_until=latest)
        )

    def with_idle_key(self, limit: int) -> list[str]:
        """Tenants whose key is stored and whom no active training needs it for (failure model C14)."""
        query = select(Tenant.id).where(col(Tenant.sealed_key).is_not(None), ~_has_active_training())
        return list(self._session.exec(query.order_by(col(Tenant.id)).limit(limit)).all())

    def erase_key_if_idle(self, tenant_id: str) -> None:
        """Erase the key in the same transaction that ends the tenant's last active training (promise 7)."""
        # Without this PostgreSQL would erase the key of a training that begins at this moment, and keep it for ever
        # when the last two trainings end at once.
        if self.hold(tenant_id):
            self._transaction.run(_ERASE_IDLE_KEY, tenant_id=tenant_id)


def _has_active_training() -> Exists:
    return exists().where(col(Training.tenant_id) == Tenant.id, col(Training.finished_at).is_(None))


_TENANTS = prepared.TENANTS
_KEEP_KEY = Change(
    update(_TENANTS)
    .where(_TENANTS.c.id == bindparam("tenant_id"))
    .values(sealed_key=bindparam("sealed_key", type_=_TENANTS.c.sealed_key.type))
)
_ERASE_IDLE_KEY = Change(
    update(_TENANTS)
    .where(_TENANTS.c.id == bindparam("tenant_id"), _TENANTS.c.sealed_key.is_not(None), ~_has_active_training())
    .values(sealed_key=None)
)
