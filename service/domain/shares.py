"""How many attempts each tenant has under way: no more than its share, so that none takes what all live on."""

from __future__ import annotations

from collections import Counter


class Shares:
    """`most` at once for each tenant; None: as many as there are."""

    def __init__(self, most: int | None) -> None:
        self.most = most
        self._under_way: Counter[str] = Counter()

    def rooms(self) -> dict[str, int]:
        """How many more may start, for each tenant that has some under way; for any other it is `most`."""
        if self.most is None:
            return {}
        return {tenant_id: self.most - count for tenant_id, count in self._under_way.items()}

    def has_room(self, tenant_id: str) -> bool:
        return self.most is None or self._under_way[tenant_id] < self.most

    def started(self, tenant_id: str) -> None:
        self._under_way[tenant_id] += 1

    def ended(self, tenant_id: str) -> None:
        self._under_way[tenant_id] -= 1
        if self._under_way[tenant_id] == 0:
            del self._under_way[tenant_id]
