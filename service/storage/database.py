"""Connections and transactions, for SQLite and PostgreSQL alike.

A transaction is a plain function of a UnitOfWork: `await database.transaction(work)`. It can't await, so no
transaction is ever open across a network call. How each database runs it: `sqlite` and `postgres`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from sqlalchemy import Connection, text
from sqlmodel import Session, col, func, select

from service.clock import Clock, SystemClock
from service.domain.errors import StorageUnavailable
from service.domain.facts import Facts
from service.storage import prepared
from service.storage.call_counts import CallCounts
from service.storage.census import Census
from service.storage.deliveries import Deliveries
from service.storage.endpoints import Endpoints
from service.storage.events import Events
from service.storage.history import History
from service.storage.idempotency import Idempotency
from service.storage.insert import insert_if_new
from service.storage.installation import Heartbeat
from service.storage.keysets import Keysets
from service.storage.outbox import News, Outbox
from service.storage.overview import Overview
from service.storage.queues import Queues
from service.storage.sightings import Sightings
from service.storage.sqlite import Sqlite
from service.storage.sweeps import Sweeps
from service.storage.tenants import Tenants
from service.storage.trainings import Trainings
from service.storage.transaction import Transaction
from service.storage.unavailable import blaming_the_database
from service.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from service.storage.replicas import Replicas

T = TypeVar("T")
R = TypeVar("R")

_NO_NEWS, _NO_FACTS = News(), Facts()
# Seconds between two tries to record something.
_SETTLE_PAUSE = 1.0


class Part(Generic[R]):
    """A repository, made when it is first asked for: most transactions need two of them."""

    def __init__(self, make: Callable[[UnitOfWork], R]) -> None:
        self._make = make

    def __set_name__(self, owner: type[UnitOfWork], name: str) -> None:
        self._name = name

    def __get__(self, unit: UnitOfWork, owner: type[UnitOfWork]) -> R:
        part = unit.__dict__[self._name] = self._make(unit)  # and this is not asked again
        return part


class UnitOfWork:
    """What one transaction can do. Nothing in here commits."""

    transaction: Transaction
    news: News
    facts: Facts

    trainings = Part(lambda unit: Trainings(unit.transaction, unit.facts))
    sweeps = Part(lambda unit: Sweeps(unit.transaction))
    sightings = Part(lambda unit: Sightings(unit.transaction, unit.trainings))
    outbox = Part(lambda unit: Outbox(unit.transaction, unit.news, unit.facts))
    deliveries = Part(lambda unit: Deliveries(unit.transaction, unit.news, unit.facts))
    events = Part(lambda unit: Events(unit.transaction))
    endpoints = Part(lambda unit: Endpoints(unit.transaction))
    history = Part(lambda unit: History(unit.transaction))
    tenants = Part(lambda unit: Tenants(unit.transaction))
    queues = Part(lambda unit: Queues(unit.transaction))
    keysets = Part(lambda unit: Keysets(unit.transaction))
    idempotency = Part(lambda unit: Idempotency(unit.transaction))
    call_counts = Part(lambda unit: CallCounts(unit.transaction))
    census = Part(lambda unit: Census(unit.transaction))
    overview = Part(lambda unit: Overview(unit.transaction))

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction
        self.news = News()
        self.facts = Facts()

    @property
    def session(self) -> Session:
        """For what no repository does."""
        return self.transaction.session

    def alone_at(self, chore: str) -> bool:
        """Whether no other replica is at this chore; then none can begin it before this transaction ends."""
        if self.transaction.is_sqlite:
            return True
        return bool(self.session.exec(select(func.pg_try_advisory_xact_lock(func.hashtext(chore)))).one())

    def last_beat(self) -> datetime | None:
        """The wall time at which some process last wrote its heartbeat."""
        return self.session.exec(select(func.max(col(Heartbeat.at)))).one()

    def beat(self, now: datetime) -> None:
        """Write the heartbeat; the first of all inserts it, and yields to another replica that was first."""
        if not self.transaction.run(prepared.BEAT, now=now):
            insert_if_new(self.transaction, Heartbeat(id=1, at=now))


@dataclass(frozen=True, slots=True)
class Told:
    """The server's time at some moment between these two, of the monotonic clock."""

    now: datetime
    asked: float
    answered: float


Work = Callable[[UnitOfWork], T]


class Runner(Protocol):
    """How one kind of database runs a function of a connection."""

    one_writer: bool

    async def write(self, work: Callable[[Connection], T], of: str | None = None) -> T: ...

    async def read(self, work: Callable[[Connection], T]) -> T: ...

    async def migrate(self, work: Callable[[Connection], T]) -> T: ...

    async def scrub(self) -> bool: ...

    async def close(self) -> None: ...


class Database:
    """StorageUnavailable is raised for whatever the database itself is to blame for: locked, full, gone.

    `where` is a URL; or a runner, for a simulation that has the database in its own hands. `metrics`: where units of
    work are counted, by their time.
    """

    def __init__(self, where: str | Runner, *, metrics: Metrics | None = None, clock: Clock | None = None) -> None:
        self._metrics = metrics or Metrics()
        self._clock = clock or SystemClock()
        self._on_news: list[Callable[[News], None]] = []
        self._on_facts: list[Callable[[Facts], None]] = []
        self._others: Replicas | None = None
        self._replicas: Replicas | None = None
        if not isinstance(where, str):
            self._runner: Runner = where
        elif where.startswith("sqlite"):
            self._runner = Sqlite(where, self._metrics.committed)
        else:
            # asyncpg and SQLAlchemy's half of it are 6 MB that a sidecar on SQLite does without.
            from service.storage.postgres import Postgres  # noqa: PLC0415
            from service.storage.replicas import Replicas  # noqa: PLC0415

            postgres = Postgres(where, self._metrics.committed)
            self._runner = postgres
            self._others = Replicas(postgres.connect, self._spread, SystemClock())

    @property
    def has_one_writer(self) -> bool:
        """Whether no unit of work ever waits for the rows of another."""
        return self._runner.one_writer

    def on_news(self, listener: Callable[[News], None]) -> None:
        """Call `listener` after each commit that put something into the outbox."""
        self._on_news.append(listener)

    def on_facts(self, listener: Callable[[Facts], None]) -> None:
        """Call `listener` after each commit of this process that made something true that is counted."""
        self._on_facts.append(listener)

    def share_news(self) -> None:
        """From now on tell other replicas of such commits, and let the listeners hear of theirs."""
        if self._others is not None:
            self._replicas = self._others
            self._replicas.start()

    async def transaction(self, work: Work[T], *, of: str | None = None) -> T:
        """Run `work` in one transaction: committed when it returns, rolled back when it raises.

        `of`: the one tenant whose rows it touches; units of work of the same one may share a commit.
        """
        began = self._clock.monotonic()
        with blaming_the_database():
            result, news, facts = await self._runner.write(lambda connection: _commit(connection, work), of)
        self._metrics.worked("write", self._clock.monotonic() - began)
        if facts != _NO_FACTS:
            for listener in self._on_facts:
                listener(facts)
        if news != _NO_NEWS:
            self._spread(news)
            if self._replicas is not None:
                self._replicas.tell(news)
        return result

    async def settle(self, work: Work[T], *, of: str, clock: Clock, until: float) -> T:
        """`transaction`, again and again while the database is unavailable, to monotonic time `until`.

        For what came of a call that was made: PhotoGPT or a receiver has acted, and it is known only here. `work` must
        be fenced, so that it changes nothing where an earlier try went through unnoticed.
        """
        while True:
            try:
                return await self.transaction(work, of=of)
            except StorageUnavailable:
                if clock.monotonic() + _SETTLE_PAUSE > until:
                    raise
            await clock.sleep(_SETTLE_PAUSE)

    async def read(self, work: Work[T]) -> T:
        """Run `work` on a consistent snapshot, without the write lock."""
        began = self._clock.monotonic()
        with blaming_the_database():
            result = await self._runner.read(lambda connection: _look(connection, work))
        self._metrics.worked("read", self._clock.monotonic() - began)
        return result

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on the bare write connection, inside a transaction."""
        with blaming_the_database():
            return await self._runner.write(work)

    async def migrate(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, which changes tables, on a bare connection inside a transaction."""
        with blaming_the_database():
            return await self._runner.migrate(work)

    async def check(self) -> None:
        """Raise StorageUnavailable unless the database is there and begins a write transaction."""
        await self.run(lambda connection: connection.execute(text("SELECT 1")))

    async def time(self, clock: Clock) -> Told | None:
        """What the server's clock says; None on SQLite, which has none but this machine's."""
        with blaming_the_database():
            return await self._runner.read(lambda connection: _time(connection, clock))

    async def beat(self, now: datetime) -> None:
        """Raise StorageUnavailable unless the database can be written: a full disk shows in nothing less."""
        await self.transaction(lambda unit: unit.beat(now))

    async def scrub(self) -> bool:
        """Have nothing in the files that was erased or replaced, so far as that is ours; False: try again later."""
        with blaming_the_database():
            return await self._runner.scrub()

    async def close(self) -> None:
        if self._replicas is not None:
            await self._replicas.stop()
        await self._runner.close()

    def _spread(self, news: News) -> None:
        for listener in self._on_news:
            listener(news)


def _commit(connection: Connection, work: Work[T]) -> tuple[T, News, Facts]:
    # The commit, and on SQLite the savepoint, are the runner's.
    with Transaction(connection) as transaction:
        unit = UnitOfWork(transaction)
        return work(unit), unit.news, unit.facts


def _time(connection: Connection, clock: Clock) -> Told | None:
    if connection.dialect.name == "sqlite":
        return None
    # Only the way there and back: for a connection one may have waited long.
    asked = clock.monotonic()
    now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return Told(now.astimezone(UTC), asked, clock.monotonic())


def _look(connection: Connection, work: Work[T]) -> T:
    with Transaction(connection, shared=False) as transaction:
        return work(UnitOfWork(transaction))
