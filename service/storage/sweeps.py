"""Repository of sweeps: which trainings are looked up in the list of their key's models, and what comes of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, case, func, null, or_, select, tuple_, update
from sqlmodel import col

from service.domain.training import Status, Watch
from service.storage import prepared
from service.storage.due_training import DueTraining, due_training
from service.storage.rows import PolledRow
from service.storage.statement import Change, Statement, columns_of, listed, parameters, rows_of, values
from service.storage.tables import Tenant, Training
from service.storage.transaction import Repository

# A key with more is swept in parts, so that no transaction grows with what one tenant has.
MOST_OF_ONE_SWEEP = 500


@dataclass(frozen=True, slots=True)
class DueSweep:
    """Trainings of one tenant that its list of models is to be held against.

    `due` of them would have been polled now, `claimed` by this process; `others` would have been later. Nobody polls
    them until `paused_until`. `gap`: from the reading of the list to the next.
    """

    tenant_id: str
    sealed_key: bytes | None
    due: tuple[DueTraining, ...]
    others: tuple[DueTraining, ...]
    claimed: tuple[DueTraining, ...]
    paused_until: datetime
    gap: timedelta

    @property
    def watched(self) -> tuple[DueTraining, ...]:
        return self.due + self.others


@dataclass(frozen=True, slots=True)
class SweepLimits:
    """`may_list`: whether a list may stand in for a reading of this watch. `again`: when the same key may be swept
    again. `longest`: what lies between two polls at most, but for a lease. `busy`: polled by this process just now.
    """

    may_list: Callable[[Watch], bool]
    again: datetime
    longest: timedelta
    busy: Collection[str]


class Sweeps(Repository):
    def begin(
        self, due: Sequence[DueTraining], *, now: datetime, until: datetime, limits: SweepLimits
    ) -> list[DueTraining | DueSweep]:
        """Put claimed trainings together that one call can tell of; in the transaction that claimed them to `until`."""
        candidates: dict[str, list[DueTraining]] = defaultdict(list)
        for training in due:
            if limits.may_list(training.watch) and not training.to_confirm:
                candidates[training.tenant_id].append(training)
        sweeps: list[DueTraining | DueSweep] = []
        for tenant_id in self._with_several(candidates, now) if candidates else ():
            sweep = self._of(tenant_id, candidates[tenant_id], now=now, until=until, limits=limits)
            if sweep is not None:
                sweeps.append(sweep)
        swept = {training.id for sweep in sweeps if isinstance(sweep, DueSweep) for training in sweep.claimed}
        return [*sweeps, *(training for training in due if training.id not in swept)]

    def keep(self, trainings: Sequence[DueTraining], *, raw_status: str, now: datetime, due_at: datetime) -> None:
        """All of them are as they were: a reading of each that is still held."""
        self._session.exec(
            update(Training)
            .where(_held(trainings), col(Training.finished_at).is_(None))
            .values(
                upstream_status=raw_status,
                readings=col(Training.readings) + 1,
                key_refused_count=0,
                last_polled_at=now,
                due_at=due_at,
                fence=col(Training.fence) + 1,
            )
            .execution_options(synchronize_session=False)
        )

    def confirm(self, trainings: Sequence[DueTraining], *, now: datetime) -> None:
        """Poll each of them that is still held at once, for what it says itself."""
        self._poll_now(trainings, now, to_confirm=True)

    def hand_back(self, trainings: Sequence[DueTraining], *, now: datetime) -> None:
        """Claimed and not polled: let them be claimed again."""
        self._poll_now(trainings, now)

    def end(self, sweep: DueSweep, *, again: datetime) -> None:
        """Others may poll this tenant again, unless they have been told to wait; no sweep of it before `again`."""
        mine = col(Tenant.polls_paused_until) == sweep.paused_until
        paused_until = case((mine, null()), else_=col(Tenant.polls_paused_until))
        of_tenant = update(Tenant).where(col(Tenant.id) == sweep.tenant_id)
        self._session.exec(of_tenant.values(polls_paused_until=paused_until, sweep_after=again))

    def pull_in(self, *, latest: datetime) -> None:
        """Let no tenant wait longer for its next sweep than until then: for a wall clock that was put back."""
        self._session.exec(update(Tenant).where(col(Tenant.sweep_after) > latest).values(sweep_after=latest))

    def _with_several(self, tenants: Collection[str], now: datetime) -> Sequence[str]:
        """Those tenants whose list may be read, and would tell of two trainings at least."""
        return [tenant_id for (tenant_id,) in self._transaction.all(_WITH_SEVERAL, tenants=sorted(tenants), now=now)]

    def _of(
        self, tenant_id: str, claimed: list[DueTraining], *, now: datetime, until: datetime, limits: SweepLimits
    ) -> DueSweep | None:
        ours = {*limits.busy, *(training.id for training in claimed)}
        found = self._transaction.all(_WATCHED, tenant=tenant_id)
        key = claimed[0].sealed_key
        rows = [
            due_training(row, key) for row in found if row.id not in ours and not _is_claimed(row, now, until, limits)
        ]
        others = {training.id: training for training in rows if limits.may_list(training.watch)}
        if len(claimed) + len(others) < 2:
            return None
        waiting = {row.id for row in found if row.due_at is not None and row.due_at <= now}
        whole = len(found) < MOST_OF_ONE_SWEEP
        again = limits.again if whole else now
        self._transaction.run(_BEGIN, tenant=tenant_id, **values(polls_paused_until=until, sweep_after=again))
        return DueSweep(
            tenant_id=tenant_id,
            sealed_key=key,
            due=(*claimed, *(training for row_id, training in others.items() if row_id in waiting)),
            others=tuple(training for row_id, training in others.items() if row_id not in waiting),
            claimed=tuple(claimed),
            paused_until=until,
            gap=again - now,
        )

    def _poll_now(self, trainings: Sequence[DueTraining], now: datetime, **changes: bool) -> None:
        if trainings:
            self._session.exec(
                update(Training)
                .where(_held(trainings), col(Training.finished_at).is_(None))
                .values(due_at=now, **changes)
                .execution_options(synchronize_session=False)
            )


def _held(trainings: Sequence[DueTraining]) -> Any:
    return tuple_(col(Training.id), col(Training.fence)).in_([(training.id, training.fence) for training in trainings])


def _is_claimed(row: Training, now: datetime, until: datetime, limits: SweepLimits) -> bool:
    """Whether another replica seems to poll it just now: it is due when a lease may end, and was to be before."""
    since = row.last_polled_at or row.triggered_at or row.created_at
    return row.due_at is not None and now < row.due_at <= until and row.due_at - since > limits.longest


_TENANTS, _TRAININGS = prepared.TENANTS, prepared.TRAININGS
# Any model: only so does SQLite go through the index of active trainings, and not through all there ever were.
_ACTIVE = _TRAININGS.c.finished_at.is_(None), _TRAININGS.c.model_id > ""
_TWO_OF_TENANT = (
    select(_TRAININGS.c.id).where(_TRAININGS.c.tenant_id == _TENANTS.c.id, *_ACTIVE).limit(2).correlate(_TENANTS)
)
_WITH_SEVERAL: Statement[Any] = Statement(
    select(_TENANTS.c.id)
    .where(
        listed(_TENANTS.c.id, "tenants"),
        or_(_TENANTS.c.sweep_after.is_(None), _TENANTS.c.sweep_after <= bindparam("now")),
        select(func.count()).select_from(_TWO_OF_TENANT.subquery()).scalar_subquery() > 1,
    )
    # Whoever holds a tenant just now may wait for a training that this claim holds.
    .with_for_update(skip_locked=True, key_share=True)
)
_BEGIN = Change(
    update(_TENANTS)
    .where(_TENANTS.c.id == bindparam("tenant"))
    .values(**parameters(_TENANTS, ("polls_paused_until", "sweep_after")))
)
_WATCHED = Statement(
    select(*columns_of(PolledRow))
    .where(
        _TRAININGS.c.tenant_id == bindparam("tenant"),
        *_ACTIVE,
        _TRAININGS.c.status == Status.TRAINING,
        _TRAININGS.c.due_at.is_not(None),
        _TRAININGS.c.to_confirm.is_(False),
    )
    .order_by(_TRAININGS.c.due_at)
    .limit(MOST_OF_ONE_SWEEP),
    rows_of(PolledRow),
)
