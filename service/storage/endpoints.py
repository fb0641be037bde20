"""Repository of webhook endpoints and of the jobs that resend what failed at one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import col, func, select, update

from service.storage import prepared
from service.storage.tables import Recovery, WebhookEndpoint
from service.storage.transaction import Repository


class Endpoints(Repository):
    def add(self, endpoint: WebhookEndpoint) -> None:
        self._session.add(endpoint)
        self._session.flush()

    def get(self, tenant_id: str, endpoint_id: str, *, hold: bool = False) -> WebhookEndpoint | None:
        """None for a deleted one. `hold`: nobody else changes it before the end of this transaction."""
        query = select(WebhookEndpoint).where(
            WebhookEndpoint.id == endpoint_id,
            WebhookEndpoint.tenant_id == tenant_id,
            col(WebhookEndpoint.deleted_at).is_(None),
        )
        return self._session.exec(query.with_for_update(key_share=True) if hold else query).one_or_none()

    def hold(self, endpoint_id: str) -> WebhookEndpoint | None:
        """The endpoint, deleted or not, and nobody else changes it before the end of this transaction."""
        query = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id)
        return self._session.exec(query.with_for_update(key_share=True)).one_or_none()

    def page(self, tenant_id: str, *, before: str | None, limit: int) -> Sequence[WebhookEndpoint]:
        """Newest first, ids below `before`."""
        query = select(WebhookEndpoint).where(
            WebhookEndpoint.tenant_id == tenant_id, col(WebhookEndpoint.deleted_at).is_(None)
        )
        if before:
            query = query.where(WebhookEndpoint.id < before)
        return self._session.exec(query.order_by(col(WebhookEndpoint.id).desc()).limit(limit)).all()

    def all_of(self, tenant_id: str) -> Sequence[WebhookEndpoint]:
        """All of a tenant, for an event that goes to them: none is paused, disabled or deleted before the commit, so
        that what is done to its deliveries then is done to that event's, too.
        """
        return self._transaction.all(prepared.HELD_ENDPOINTS, tenant_id=tenant_id)

    def count(self, tenant_id: str) -> int:
        query = select(func.count()).where(
            col(WebhookEndpoint.tenant_id) == tenant_id, col(WebhookEndpoint.deleted_at).is_(None)
        )
        return self._session.exec(query).one()

    def change(self, endpoint_id: str, changes: Mapping[str, Any]) -> WebhookEndpoint:
        """The endpoint after these changes."""
        changed = (
            update(WebhookEndpoint)
            .where(col(WebhookEndpoint.id) == endpoint_id)
            .values(**changes)
            .returning(WebhookEndpoint)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        return self._session.scalars(changed).one()

    def add_recovery(self, recovery: Recovery) -> None:
        self._session.add(recovery)
        self._session.flush()

    def recovery(self, tenant_id: str, endpoint_id: str, recovery_id: str) -> Recovery | None:
        found = self._session.get(Recovery, recovery_id)
        return found if found and (found.tenant_id, found.endpoint_id) == (tenant_id, endpoint_id) else None

    def running_recoveries(self, limit: int) -> Sequence[str]:
        """The ids of jobs that are not done, oldest first."""
        query = select(Recovery.id).where(col(Recovery.finished_at).is_(None)).order_by(col(Recovery.id)).limit(limit)
        return self._session.exec(query).all()

    def hold_recovery(self, recovery_id: str) -> Recovery | None:
        """The job, unless it is done; nobody else works on it before the end of this transaction."""
        query = select(Recovery).where(Recovery.id == recovery_id, col(Recovery.finished_at).is_(None))
        return self._session.exec(query.with_for_update()).one_or_none()
