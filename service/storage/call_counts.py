"""Repository of how often PhotoGPT was called, by day and kind."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from sqlmodel import col, func, select, update

from service.storage.insert import insert_if_new
from service.storage.installation import CallCount
from service.storage.transaction import Repository


class CallCounts(Repository):
    def add(self, day: dt.date, counts: Mapping[str, int]) -> None:
        """Add to what is counted for that day already. In one order, so that replicas never wait for each other."""
        for kind, count in sorted(counts.items()):
            added = (
                update(CallCount)
                .where(col(CallCount.day) == day, col(CallCount.kind) == kind)
                .values(count=col(CallCount.count) + count)
            )
            # Another replica may insert it between the two: then there is something to add to.
            if not self._session.exec(added).rowcount and not insert_if_new(
                self._transaction, CallCount(day=day, kind=kind, count=count)
            ):
                self._session.exec(added)

    def since(self, day: dt.date) -> dict[str, int]:
        """The sum by kind, that day included."""
        query = (
            select(CallCount.kind, func.sum(col(CallCount.count)))
            .where(col(CallCount.day) >= day)
            .group_by(CallCount.kind)
        )
        return {kind: int(count) for kind, count in self._session.exec(query)}
