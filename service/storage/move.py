"""Moves all rows of a database to an empty one, so that it may be killed anywhere and given again.

The source, a SQLite file, is nobody else's meanwhile, and marked before the first row is copied: from then on nothing
serves it, so that it stays as it is. Its tables are copied in the order of their foreign keys and in batches; the
target counts each batch in the transaction that brings it. What the markers say, and who may be served: `moves`.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    Insert,
    RowMapping,
    Table,
    Text,
    bindparam,
    cast,
    insert,
    literal,
    text,
    tuple_,
    type_coerce,
)
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel, col, delete, func, select, update

from service.clock import Clock
from service.domain import ids
from service.domain.errors import ConfigurationError, MoveFailed, StorageUnavailable
from service.storage.database import Database, UnitOfWork
from service.storage.insert import insert_if_new
from service.storage.migrations import migrate
from service.storage.moves import ONLY, Move, MoveState, marker

# An event with the largest metadata is 70 kB: 35 MB at most in one batch.
_BATCH = 500
# Two beats of a gateway, and one more for a busy machine.
_BEATS_SECONDS = 6.0
_AGAIN = "Make the target anew, take this move back with `move --back`, and move again"


@dataclass(frozen=True, slots=True)
class Progress:
    """How many rows of a table are in the target, of how many."""

    table: str
    copied: int
    total: int


def moved_tables() -> list[Table]:
    """What is copied: everything but the markers; what others refer to first."""
    return [table for table in SQLModel.metadata.sorted_tables if table.name != Move.__tablename__]


class Mover:
    def __init__(
        self, source: Database, target: Database, *, clock: Clock, rng: random.Random, batch: int = _BATCH
    ) -> None:
        self._source = source
        self._target = target
        self._clock = clock
        self._rng = rng
        self._batch = batch
        self._name = ""

    async def prepare(self) -> None:
        """Bring both to this release's schema: the target first, since it is there that something may be wrong."""
        try:
            await migrate(self._target, moving=True)
        except (StorageUnavailable, DBAPIError) as error:
            raise MoveFailed(f"The target can't be used: {_cause(error)}.") from error
        await migrate(self._source, moving=True)

    async def begin(self, source_at: str, target_at: str) -> MoveState:
        """Mark both, or find the marks of an earlier try; the state of the target.

        `..._at` is where each is, for people, without credentials. Raises ConfigurationError if the target is not
        empty, or not the one of that earlier try.
        """
        leaving, arriving = await self._source.read(marker), await self._target.read(marker)
        if leaving is None:
            self._name = await self._begin_anew(source_at, target_at, arriving)
            return MoveState.ARRIVING
        if arriving is None or arriving.name != leaving.name:
            raise ConfigurationError(
                f"The source is being moved to {leaving.other}, and this target knows nothing of it: give that one. If "
                "it is the same but made anew, take the move back first, with `move --back --force`."
            )
        if arriving.state == MoveState.WITHDRAWN:
            raise ConfigurationError("This move is being taken back: give the same `move --back` again.")
        self._name = leaving.name
        return MoveState(arriving.state)

    async def copy(self) -> AsyncIterator[Progress]:
        """Bring what is not in the target yet; tells of each batch after its commit."""
        totals = await self._source.read(_counts)
        arriving = await self._target.read(marker)
        copied, batches = (dict(arriving.copied), arriving.batches) if arriving is not None else ({}, 0)
        for table in moved_tables():
            there, last = copied.get(table.name, 0), None
            yield Progress(table.name, there, totals[table.name])
            while rows := await self._source.read(_rows(table, last, skipped=there, limit=self._batch)):
                there, last = there + len(rows), rows[-1]
                copied[table.name] = there
                await self._put(table, rows, copied, batches)
                batches += 1
                yield Progress(table.name, there, totals[table.name])

    async def complete(self) -> None:
        """Compare what is there, and let the target be served."""
        arriving = await self._target.read(marker)
        if arriving is not None and arriving.state == MoveState.ARRIVING:
            ours, theirs = await self._source.read(_counts), await self._target.read(_counts)
            for name, count in ours.items():
                if theirs[name] != count:
                    raise MoveFailed(
                        f"The source has {count} rows in {name}, the target {theirs[name]}: somebody else changed one "
                        f"of them. {_AGAIN}."
                    )
            await self._target.run(lambda connection: [connection.execute(_analyze(table)) for table in moved_tables()])
            await self._change(self._target, MoveState.COMPLETE)
        await self._change(self._source, MoveState.LEFT)

    async def take_back(self, *, force: bool) -> None:
        """Let the source be served again and the target never.

        With `force` also if a gateway has worked on the target, or if that is gone or knows nothing of this move.
        """
        leaving = await self._source.read(marker)
        if leaving is None:
            raise ConfigurationError("The source is not being moved: there is nothing to take back.")
        self._name = leaving.name
        lost = f"The source was moved to {leaving.other}"
        try:
            arriving = await self._target.read(marker)
        except (StorageUnavailable, DBAPIError) as error:
            arriving, lost = None, f"{lost}, which can't be asked ({_cause(error)})"
        else:
            lost = f"{lost}, and this target knows nothing of it"
        if arriving is not None and arriving.name == leaving.name:
            await self._withdraw(MoveState(arriving.state), force=force)
        elif not force:
            raise ConfigurationError(f"{lost}. If that one is gone, and nothing will ever run on it, add --force.")
        await self._source.transaction(lambda unit: unit.session.exec(delete(Move)))

    async def _begin_anew(self, source_at: str, target_at: str, arriving: Move | None) -> str:
        now = self._clock.now()
        name = ids.new_id(ids.MOVE, now, self._rng)
        if arriving is not None and (arriving.state != MoveState.ARRIVING or arriving.batches):
            raise ConfigurationError(
                f"The target has what was moved there from {arriving.other}, and this is another source, or that move "
                "was taken back: give an empty database."
            )
        await self._refuse_unless_empty()

        def mark_target(unit: UnitOfWork) -> bool:
            # One that a dead try left before it had marked its source.
            unit.session.exec(delete(Move).where(col(Move.batches) == 0, col(Move.state) == MoveState.ARRIVING))
            row = Move(id=ONLY, name=name, state=MoveState.ARRIVING, other=source_at, began_at=now)
            return insert_if_new(unit.transaction, row)

        def mark_source(unit: UnitOfWork) -> None:
            unit.session.add(Move(id=ONLY, name=name, state=MoveState.LEAVING, other=target_at, began_at=now))

        if not await self._target.transaction(mark_target):
            raise ConfigurationError("Another move into the target began at this moment.")
        try:
            # Once more: a gateway that started there at this moment is seen now, or sees the marker.
            await self._refuse_unless_empty()
        except ConfigurationError:
            await self._target.transaction(lambda unit: unit.session.exec(delete(Move).where(col(Move.name) == name)))
            raise
        await self._source.transaction(mark_source)
        return name

    async def _refuse_unless_empty(self) -> None:
        counts = await self._target.read(_counts)
        filled = [name for name, count in counts.items() if count]
        if filled:
            raise ConfigurationError(
                f"The target is not empty: there are rows in {', '.join(filled)}. A gateway that was started on it "
                "makes some. Give an empty database."
            )

    async def _put(self, table: Table, rows: Sequence[RowMapping], copied: dict[str, int], batches: int) -> None:
        name = self._name

        def work(unit: UnitOfWork) -> None:
            connection = unit.session.connection()
            counted = connection.execute(
                update(Move)
                .where(col(Move.name) == name, col(Move.state) == MoveState.ARRIVING, col(Move.batches) == batches)
                .values(copied=dict(copied), batches=batches + 1)
            )
            if counted.rowcount != 1:
                raise MoveFailed("The target is not, or no longer, this move's: another `move` works on it.")
            connection.execute(_insert(table), [{f"new_{key}": value for key, value in row.items()} for row in rows])

        try:
            await self._target.transaction(work)
        except DBAPIError as error:
            raise MoveFailed(
                f"The target does not take the rows of {table.name}: {_cause(error)}. {_AGAIN}."
            ) from error

    async def _withdraw(self, before: MoveState, *, force: bool) -> None:
        await self._change(self._target, MoveState.WITHDRAWN)
        # A gateway that starts there now sees this; one that started before has left its beat.
        ours, theirs = await self._source.read(_last_beat), await self._target.read(_last_beat)
        if theirs is None or theirs == ours:
            return
        problem = (
            "A gateway has worked on the target, and what it did there would be lost: add --force if that is meant."
        )
        if force:
            await self._clock.sleep(_BEATS_SECONDS)
            if await self._target.read(_last_beat) == theirs:
                return
            problem = "A gateway is running on the target: end it first."
        await self._change(self._target, before)
        raise ConfigurationError(problem)

    async def _change(self, database: Database, state: MoveState) -> None:
        statement = (
            update(Move)
            .where(col(Move.name) == self._name, col(Move.state) != state)
            .values(state=state, ended_at=self._clock.now())
        )
        await database.transaction(lambda unit: unit.session.exec(statement))


def _cause(error: BaseException) -> str:
    """In one line: what comes after it may be a row."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    return str(cause).partition("\n")[0].rpartition(">: ")[2].rstrip(".")


def _last_beat(unit: UnitOfWork) -> object:
    return unit.last_beat()


def _counts(unit: UnitOfWork) -> dict[str, int]:
    connection = unit.session.connection()
    return {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in moved_tables()
    }


def _rows(
    table: Table, last: RowMapping | None, *, skipped: int, limit: int
) -> Callable[[UnitOfWork], Sequence[RowMapping]]:
    """The rows behind `last`, or behind the first `skipped` ones, in the order of their primary key."""
    key = list(table.primary_key.columns)
    query = select(*(_as_stored(column) for column in table.columns)).order_by(*key).limit(limit)
    if last is None:
        query = query.offset(skipped)
    else:
        values = (literal(last[column.name], column.type) for column in key)
        query = query.where(tuple_(*key) > tuple_(*values))
    return lambda unit: unit.session.connection().execute(query).mappings().all()


def _as_stored(column: Any) -> Any:
    """JSON as its text, so that what stands for nothing there, `null` or NULL, is the same in the target."""
    return type_coerce(column, Text).label(column.name) if isinstance(column.type, JSON) else column


def _insert(table: Table) -> Insert:
    def given(column: Any) -> Any:
        if isinstance(column.type, JSON):
            return cast(bindparam(f"new_{column.name}", type_=Text), JSON)
        return bindparam(f"new_{column.name}", type_=column.type)

    return insert(table).values({column.name: given(column) for column in table.columns})


def _analyze(table: Table) -> Any:
    """The planner knows nothing yet of what has come in."""
    return text(f'ANALYZE "{table.name}"')
