"""Repository of what an operator sees: all tenants' rows, newest first. It only reads, and never much.

Whatever is asked is looked for in an index, or else among a bounded number of rows, however many there are: a page
says where it stopped, and the next one goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, bindparam, case
from sqlalchemy import text as sql
from sqlmodel import SQLModel, col, func, select

from service.domain import ids
from service.domain.delivery import DeliveryStatus
from service.storage.columns import FAILING
from service.storage.tables import Attempt, Delivery, Event, Training, WebhookEndpoint
from service.storage.transaction import Repository

Row = TypeVar("Row", bound=SQLModel)

# So many rows are looked at for one page of those that a filter wants.
WINDOW = 5_000
# So many are counted; more are "more than".
MOST_COUNTED = 1_000
# So many active trainings are looked through for those that an operator should look at.
MOST_ACTIVE = 2_000
_MOST_HOSTS = 25
_MOST_DELIVERIES = 100
_MOST_ATTEMPTS = 500


@dataclass(frozen=True, slots=True)
class TrainingSearch:
    """`status`: one of Status, or `active`, `overdue`, `suspended`."""

    status: str | None = None
    model_id: str | None = None
    tenant_id: str | None = None


@dataclass(frozen=True, slots=True)
class DeliverySearch:
    """Deliveries of all tenants. `status`: one of DeliveryStatus, or `failing`: dead, or tried in vain."""

    status: str | None = None
    host: str | None = None
    tenant_id: str | None = None
    endpoint_id: str | None = None
    training_id: str | None = None


@dataclass(frozen=True, slots=True)
class Window(Generic[Row]):
    """`older`: the id below which the next page begins, None at the end."""

    rows: Sequence[Row]
    older: str | None


@dataclass(frozen=True, slots=True)
class FailingHost:
    """`retrying` and `dead` are counted up to MOST_COUNTED together. `newest` is the newest of them."""

    host: str
    retrying: int
    dead: int
    newest: Delivery

    @property
    def more(self) -> bool:
        return self.retrying + self.dead > MOST_COUNTED


@dataclass(frozen=True, slots=True)
class Sent:
    """One delivery of late: when its event happened, and its first attempt began; `arrived_at`: if it has."""

    happened_at: datetime
    began_at: datetime | None
    arrived_at: datetime | None


class Overview(Repository):
    def training(self, training_id: str) -> Training | None:
        return self._session.get(Training, training_id)

    def delivery(self, delivery_id: str) -> Delivery | None:
        return self._session.get(Delivery, delivery_id)

    def endpoint(self, endpoint_id: str) -> WebhookEndpoint | None:
        """Also a deleted one, as long as deliveries name it."""
        return self._session.get(WebhookEndpoint, endpoint_id)

    def event(self, event_id: str) -> Event | None:
        return self._session.get(Event, event_id)

    def active(self) -> Sequence[Training]:
        """Active trainings, at most MOST_ACTIVE and one more."""
        # In the order of the index of active ones, and so by it.
        order = col(Training.tenant_id), col(Training.model_id)
        query = select(Training).where(col(Training.finished_at).is_(None)).order_by(*order)
        return self._session.exec(query.limit(MOST_ACTIVE + 1)).all()

    def trainings(self, asked: TrainingSearch, *, before: str | None, limit: int) -> Window[Training]:
        leading = [Training.tenant_id == asked.tenant_id] if asked.tenant_id else []
        others: list[Any] = [Training.model_id == asked.model_id] if asked.model_id else []
        match asked.status:
            case None:
                pass
            case "active":
                others.append(col(Training.finished_at).is_(None))
            case "overdue":
                others += [col(Training.finished_at).is_(None), col(Training.overdue)]
            case "suspended":
                others += [col(Training.finished_at).is_(None), col(Training.suspended)]
            case status:
                others.append(Training.status == status)
        return self._window(Training, Training.id, leading, others, before, limit)

    def deliveries(self, asked: DeliverySearch, *, before: str | None, limit: int) -> Window[Delivery]:
        places: list[tuple[Any, str | None]] = [
            (Delivery.training_id, asked.training_id),
            (Delivery.endpoint_id, asked.endpoint_id),
            (Delivery.host, asked.host),
            (Delivery.tenant_id, asked.tenant_id),
        ]
        conditions: list[Any] = [column == value for column, value in places if value]
        failing = asked.status in {"failing", DeliveryStatus.DEAD}
        if asked.status == "failing":
            conditions.append(_FAILING)
        elif asked.status:
            conditions.append(Delivery.status == asked.status)
        leading: list[Any] = []
        if asked.training_id or asked.endpoint_id:
            leading = conditions[:1]
        elif asked.host and failing:
            leading = [Delivery.host == asked.host, _FAILING]
        elif asked.tenant_id and not asked.host:
            leading = [Delivery.tenant_id == asked.tenant_id]
        return self._window(Delivery, Delivery.id, leading, conditions, before, limit)

    def endpoints(self, *, tenant_id: str | None, before: str | None, limit: int) -> Window[WebhookEndpoint]:
        """Those that are not deleted."""
        leading = [WebhookEndpoint.tenant_id == tenant_id] if tenant_id else []
        others = [col(WebhookEndpoint.deleted_at).is_(None)]
        return self._window(WebhookEndpoint, WebhookEndpoint.id, leading, others, before, limit)

    def failing_hosts(self, *, since: datetime) -> tuple[list[FailingHost], bool]:
        """Where deliveries made since then do not arrive; and whether there are more such hosts than were looked at."""
        counted: list[tuple[str, int, int, str]] = []
        host, first = "", ids.first_id(ids.DELIVERY, since)
        for _ in range(_MOST_HOSTS):
            following = self._session.exec(_NEXT_HOST, params={"host": host}).first()
            if following is None:
                break
            host = following
            of_host = {"host": host, "first": first, "most": MOST_COUNTED + 1}
            count, dead, newest = self._session.exec(_COUNT_AT_HOST, params=of_host).one()
            if newest is not None:
                counted.append((host, count - dead, dead, newest))
        more = self._session.exec(_NEXT_HOST, params={"host": host}).first() is not None
        rows = self._session.exec(select(Delivery).where(col(Delivery.id).in_([newest for *_, newest in counted])))
        newest_rows = {row.id: row for row in rows}
        return [FailingHost(at, retrying, dead, newest_rows[newest]) for at, retrying, dead, newest in counted], more

    def last_attempts(self, delivery_ids: Sequence[str]) -> dict[str, Attempt]:
        """The newest attempt of each that has one."""
        numbers = (
            select(Attempt.delivery_id, func.max(col(Attempt.number)).label("number"))
            .where(col(Attempt.delivery_id).in_(delivery_ids))
            .group_by(Attempt.delivery_id)
            .subquery()
        )
        query = select(Attempt).join(
            numbers, (col(Attempt.delivery_id) == numbers.c.delivery_id) & (col(Attempt.number) == numbers.c.number)
        )
        return {attempt.delivery_id: attempt for attempt in self._session.exec(query)}

    def models_of(self, training_ids: Sequence[str]) -> dict[str, str]:
        """The model of each training."""
        query = select(Training.id, Training.model_id).where(col(Training.id).in_(training_ids))
        return dict(self._session.exec(query).all())

    def events_of(self, training_id: str) -> Sequence[Event]:
        query = select(Event).where(Event.training_id == training_id)
        return self._session.exec(query.order_by(col(Event.sequence))).all()

    def deliveries_of(self, training_id: str) -> Sequence[Delivery]:
        """The first ones; a training has few."""
        query = select(Delivery).where(Delivery.training_id == training_id)
        return self._session.exec(query.order_by(col(Delivery.id)).limit(_MOST_DELIVERIES)).all()

    def deliveries_of_event(self, event_id: str) -> Sequence[Delivery]:
        query = select(Delivery).where(Delivery.event_id == event_id)
        return self._session.exec(query.order_by(col(Delivery.id)).limit(_MOST_DELIVERIES)).all()

    def attempts_of(self, delivery_ids: Sequence[str]) -> Sequence[Attempt]:
        """In the order of time; of very many the newest."""
        query = select(Attempt).where(col(Attempt.delivery_id).in_(delivery_ids))
        return self._session.exec(query.order_by(col(Attempt.id).desc()).limit(_MOST_ATTEMPTS)).all()[::-1]

    def lately_sent(self, *, limit: int) -> list[Sent]:
        """The newest deliveries that have been tried."""
        newest = (
            select(Delivery.id, Delivery.created_at, Delivery.finished_at, Delivery.status)
            .where(Delivery.id > "")
            .order_by(col(Delivery.id).desc())
            .limit(limit)
            .subquery()
        )
        query = select(newest.c.created_at, Attempt.started_at, newest.c.finished_at, newest.c.status).join(
            Attempt, (col(Attempt.delivery_id) == newest.c.id) & (col(Attempt.number) == 1)
        )
        return [
            Sent(created_at, started_at, finished_at if status == DeliveryStatus.DELIVERED else None)
            for created_at, started_at, finished_at, status in self._session.exec(query)
        ]

    def _window(
        self,
        table: type[Row],
        key: Any,
        leading: Sequence[ColumnElement[bool] | bool],
        others: Sequence[ColumnElement[bool] | bool],
        before: str | None,
        limit: int,
    ) -> Window[Row]:
        """A page of those that `others` hold of, among the newest WINDOW rows that `leading` leads to."""
        place = [*leading, key < before] if before else leading
        looked_at = select(key).where(*place).order_by(key.desc()).limit(WINDOW).subquery()
        query: Any = select(table)
        query = query.join(looked_at, key == looked_at.c.id).where(*others) if others else query.where(*place)
        rows: Sequence[Row] = self._session.exec(query.order_by(key.desc()).limit(limit + 1)).all()
        if len(rows) > limit:
            return Window(rows[:limit], rows[limit - 1].id)  # type: ignore[attr-defined]  # each of them has one
        if not others:
            return Window(rows, None)
        count, last = self._session.exec(select(func.count(), func.min(looked_at.c.id))).one()
        return Window(rows, last if count == WINDOW else None)


_FAILING: Any = sql(f"({FAILING})")
_NEXT_HOST: Any = (
    select(Delivery.host).where(_FAILING, col(Delivery.host) > bindparam("host")).order_by(col(Delivery.host)).limit(1)
)
_newest_at_host = (
    select(Delivery.id, Delivery.status)
    .where(_FAILING, col(Delivery.host) == bindparam("host"), col(Delivery.id) >= bindparam("first"))
    .order_by(col(Delivery.id).desc())
    .limit(bindparam("most"))
    .subquery()
)
_COUNT_AT_HOST: Any = select(
    func.count(),
    func.coalesce(func.sum(case((_newest_at_host.c.status == DeliveryStatus.DEAD, 1), else_=0)), 0),
    func.max(_newest_at_host.c.id),
)
