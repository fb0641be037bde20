"""Repository of Idempotency-Keys: which request used one, and what it was answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import col, delete, update

from service.storage.insert import insert_if_new
from service.storage.tables import IdempotencyKey
from service.storage.transaction import Repository


class Idempotency(Repository):
    def get(self, tenant_id: str, key: str, *, not_before: datetime) -> IdempotencyKey | None:
        """The record of `key`, unless it is older than `not_before`."""
        found = self._session.get(IdempotencyKey, (tenant_id, key))
        return found if found and found.created_at >= not_before else None

    def claim(self, record: IdempotencyKey, *, not_before: datetime) -> IdempotencyKey | None:
        """Store `record` for its key; or return the record that has the key already and is not outlived."""
        outlived = delete(IdempotencyKey).where(
            col(IdempotencyKey.tenant_id) == record.tenant_id,
            col(IdempotencyKey.key) == record.key,
            col(IdempotencyKey.created_at) < not_before,
        )
        while True:
            self._session.exec(outlived)
            if insert_if_new(self._transaction, record):
                return None
            holder = self._session.get(IdempotencyKey, (record.tenant_id, record.key))
            # Another replica may have given the key back since it was in our way: then it can be had.
            if holder is not None:
                return holder

    def release(self, tenant_id: str, key: str) -> None:
        """Forget the key: nothing came of its request, and the same request may succeed later."""
        self._session.exec(
            delete(IdempotencyKey).where(col(IdempotencyKey.tenant_id) == tenant_id, col(IdempotencyKey.key) == key)
        )

    def answer(self, tenant_id: str, key: str, outcome: dict[str, Any]) -> None:
        self._session.exec(
            update(IdempotencyKey)
            .where(col(IdempotencyKey.tenant_id) == tenant_id, col(IdempotencyKey.key) == key)
            .values(outcome=outcome)
        )
