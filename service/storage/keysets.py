"""Repository of the installation's keyset, sealed: one row, made at the first start."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import inspect
from sqlmodel import col, select, update

from service.storage.insert import insert_if_new
from service.storage.installation import Keyset
from service.storage.transaction import Repository

_ONLY = 1


class Keysets(Repository):
    def sealed(self) -> bytes | None:
        return self._session.exec(select(Keyset.sealed).where(col(Keyset.id) == _ONLY)).one_or_none()

    def sealed_if_migrated(self) -> bytes | None:
        """As `sealed`, also of a database that no release with keysets has seen."""
        known = inspect(self._session.connection()).has_table(str(Keyset.__tablename__))
        return self.sealed() if known else None

    def keep_first(self, sealed: bytes, now: datetime) -> bytes:
        """Keep this one unless another replica was first; the one that is kept."""
        insert_if_new(self._transaction, Keyset(id=_ONLY, sealed=sealed, created_at=now, sealed_at=now))
        kept = self.sealed()
        if kept is None:
            raise LookupError("keyset")
        return kept

    def replace(self, before: bytes, sealed: bytes, now: datetime) -> bool:
        """Whether it was still that one before."""
        changed = self._session.exec(
            update(Keyset)
            .where(col(Keyset.id) == _ONLY, col(Keyset.sealed) == before)
            .values(sealed=sealed, sealed_at=now)
        )
        return bool(changed.rowcount)
