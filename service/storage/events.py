"""Repository of events as readers follow them: in the order of their commits, after a position."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlmodel import col, select

from service.storage.tables import Event, Tenant
from service.storage.transaction import Repository


class Events(Repository):
    def get(self, tenant_id: str, event_id: str) -> Event | None:
        event = self._session.get(Event, event_id)
        return event if event and event.tenant_id == tenant_id else None

    def after(self, tenant_id: str, position: int, *, types: Collection[str] = (), limit: int) -> Sequence[Event]:
        """The tenant's next events after `position`, oldest first; only of these types if any are named."""
        query = select(Event).where(Event.tenant_id == tenant_id, Event.position > position)
        if types:
            query = query.where(col(Event.type).in_(types))
        return self._session.exec(query.order_by(col(Event.position)).limit(limit)).all()

    def last_position(self, tenant_id: str) -> int:
        """The position of the tenant's newest event; 0 before the first."""
        return self._session.exec(select(Tenant.event_position).where(Tenant.id == tenant_id)).one_or_none() or 0
