"""A training in a worker's hands, as values: what is polled with what; and what claims must leave alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from service.domain.training import Failure, Observation, Status, Watch
from service.storage.tables import Training


@dataclass(frozen=True, slots=True)
class DueTraining:
    """A claimed training: what a worker needs to poll it, and the fence under which it may record the result.

    `to_confirm`: it is polled sooner than usual, since something else has told of it.
    """

    id: str
    tenant_id: str
    model_id: str
    fence: int
    watch: Watch
    sealed_key: bytes | None
    last_polled_at: datetime | None = None
    to_confirm: bool = False
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class PollLimits:
    """What a claim of trainings must leave alone.

    `interval` is the shortest time between two planned polls of a model; `busy` are the trainings that this process is
    polling now, each with its tenant; `per_tenant` bounds those, and what is claimed beside them.
    """

    interval: timedelta = timedelta(0)
    busy: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    per_tenant: int | None = None
    refill: int = 1

    def room(self) -> dict[str, int]:
        """How many more polls each tenant in `busy` may have under way; none before `refill` of them are free."""
        if self.per_tenant is None:
            return {}
        room = {tenant: self.per_tenant - count for tenant, count in Counter(self.busy.values()).items()}
        return {tenant: free if free >= self.refill else 0 for tenant, free in room.items()}

    def leaves_out(self, claimed: Mapping[str, str]) -> bool:
        """Whether a tenant has no room for more after this claim, each of `claimed` with its tenant."""
        return 0 in replace(self, busy={**self.busy, **claimed}).room().values()


def due_training(row: Training, sealed_key: bytes | None) -> DueTraining:
    return DueTraining(
        id=row.id,
        tenant_id=row.tenant_id,
        model_id=row.model_id,
        fence=row.fence,
        watch=watch_of(row),
        sealed_key=sealed_key,
        last_polled_at=row.last_polled_at,
        to_confirm=row.to_confirm,
        traceparent=row.traceparent,
    )


def watch_of(row: Training) -> Watch:
    """The part of a row that decides about polls, as a value."""
    baseline = None
    if row.baseline_status is not None:
        baseline = Observation(row.baseline_status, row.baseline_updated_at)
    failure = None
    if row.failure_code is not None:
        failure = Failure(row.failure_code, row.failure_message or "")
    return Watch(
        status=Status(row.status),
        since=row.triggered_at or row.submitted_at or row.created_at,
        baseline=baseline,
        raw_status=row.upstream_status,
        left_baseline=row.left_baseline,
        overdue=row.overdue,
        suspended=row.suspended,
        not_found_count=row.not_found_count,
        key_refused_count=row.key_refused_count,
        readings=row.readings,
        expiring=row.expiring,
        failure=failure,
    )
