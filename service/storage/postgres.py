"""PostgreSQL: pooled asyncpg connections; SQLAlchemy's own bridge runs the same synchronous units of work on them.

A unit of work that came to nothing because the server went away, or gave it up, is run again for a few seconds; a
COMMIT that was not answered is read back first (`in_doubt`). So a restart or a failover that takes no longer is
noticed by nobody, and a longer one is StorageUnavailable.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import Connection, ExceptionContext, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from service.clock import Clock, SystemClock
from service.crashpoints import CrashPoint, reached
from service.domain.errors import ConfigurationError, StorageUnavailable
from service.storage.compiled import COMPILED, Alike
from service.storage.groups import Groups
from service.storage.in_doubt import Fate, InDoubt, fate_of, own_number, start_of_server
from service.storage.unavailable import is_confused, passes, sqlstate
from service.telemetry.logging import get_logger

T = TypeVar("T")
_log = get_logger("postgres")

_POOL = 16
_POOL_SECONDS = 5.0
_CONNECT_SECONDS = 5.0
# Far longer than any statement should take; a peer that is gone is noticed by _KEEP_ALIVE.
_COMMAND_SECONDS = 30.0
# Failure model 2.4, "PostgreSQL failover".
_PATIENCE_SECONDS = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
# A transaction whose process is frozen, or whose connection is gone without a word, must not keep its locks.
_SESSION = "SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '15s'"
# A connection over which nothing comes back for about ten seconds is given up.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 4, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}
# What a server says of a COMMIT that it has refused: a constraint, a conflict. (40003: it does not know itself.)
_REFUSED = ("23", "40")
_NOT_KNOWN = "40003"
_READ_ONLY = "25006"
# What is kept with a connection of the pool: when it was made, and the start of the server that it was made to.
_SINCE, _START = "since", "start"


class Dialect(Alike, PGDialect_asyncpg):
    supports_statement_cache = True


registry.register("postgresql.alike", __name__, Dialect.__name__)


class Postgres:
    """`on_group` hears how many units of work of one tenant are about to share a commit."""

    one_writer = False

    def __init__(
        self,
        url: str,
        on_group: Callable[[int], None] = lambda _size: None,
        *,
        patience: float = _PATIENCE_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        self._url = url
        self._patience = patience
        self._clock = clock or SystemClock()
        # Connections that are older are not trusted any more.
        self._trusted_from = self._clock.monotonic()
        self._turns = asyncio.Semaphore(_POOL)
        self._engine = self._make_engine(pool_size=_POOL, max_overflow=0, pool_timeout=_POOL_SECONDS)
        event.listen(self._engine.sync_engine, "connect", self._connected)
        event.listen(self._engine.sync_engine, "checkout", self._checked_out)
        self._groups = Groups(once=self._write, alone=self._alone, on_group=on_group)
        self._reading = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    async def write(self, work: Callable[[Connection], T], of: str | None = None) -> T:
        return await (self._alone(work) if of is None else self._groups.write(work, of))

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._patiently(lambda: self._read(work))

    async def migrate(self, work: Callable[[Connection], T]) -> T:
        """As `write`, for changes of tables: they take their time, and done twice is done once."""
        engine = self._make_engine(poolclass=NullPool, command_timeout=None, session="SELECT 1")

        async def once() -> T:
            async with self._connection(engine) as connection, connection.begin():
                return await connection.run_sync(work)

        try:
            return await self._patiently(once)
        finally:
            await engine.dispose()

    async def scrub(self) -> bool:
        """The server's own vacuum takes what was erased out of its files; nobody else can."""
        return True

    async def close(self) -> None:
        await self._engine.dispose()

    async def _alone(self, work: Callable[[Connection], T]) -> T:
        return await self._patiently(lambda: self._write(work))

    async def _patiently(self, once: Callable[[], Awaitable[T]]) -> T:
        """What `once` returns: again and again while it fails, without having changed anything, for what passes."""
        until = self._clock.monotonic() + self._patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return await once()
            except Exception as error:
                if not passes(error) or self._clock.monotonic() + pause > until:
                    raise
                _log.debug("storage_tried_again", reason=str(error))
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        async with self._connection(self._reading) as connection:
            return await self._unless_lost(connection, lambda: connection.run_sync(work))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        async with self._connection(self._engine) as connection:
            start: str = connection.info[_START]
            transaction = await connection.begin()

            async def run() -> tuple[T, str | None]:
                return await connection.run_sync(work), await own_number(connection)

            result, number = await self._unless_lost(connection, run)
            try:
                await transaction.commit()
            except Exception as error:
                if _is_refusal(error):
                    raise
                await connection.invalidate()
                doubt = InDoubt(number, start, error) if number else None
            else:
                doubt = None
        if doubt is None or await self._was_stored(doubt):
            reached(CrashPoint.UNACKNOWLEDGED)
            return result
        raise ConnectionResetError("The connection to the database was lost before the COMMIT.") from doubt.error

    async def _unless_lost(self, connection: AsyncConnection, run: Callable[[], Awaitable[T]]) -> T:
        """What `run` returns or raises; but whatever it raises once the connection is lost is for that reason."""
        wire: Any = (await connection.get_raw_connection()).driver_connection
        try:
            return await run()
        except Exception as error:
            if isinstance(error, TimeoutError):
                self._trusted_from = self._clock.monotonic()  # the others lead to the same silent server
            elif not (connection.invalidated or wire.is_closed() or is_confused(error)):
                raise
            await connection.invalidate()
            if passes(error):
                raise
            raise ConnectionResetError("The connection to the database was lost.") from error

    async def _was_stored(self, doubt: InDoubt) -> bool:
        """Raises StorageUnavailable if nobody can say."""
        until = self._clock.monotonic() + self._patience
        pause = _FIRST_PAUSE
        while (fate := await self._fate(doubt)) is Fate.UNDECIDED and self._clock.monotonic() + pause <= until:
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        _log.warning("commit_was_in_doubt", found=str(fate), cause=type(doubt.error).__name__)
        if fate in (Fate.STORED, Fate.UNDONE):
            return fate is Fate.STORED
        raise StorageUnavailable("The connection to the database was lost; it may have stored this, or not.") from (
            doubt.error
        )

    async def _fate(self, doubt: InDoubt) -> Fate:
        try:
            async with self._connection(self._engine) as connection:
                return await fate_of(doubt, connection, connection.info[_START])
        except Exception as error:
            if not passes(error):
                raise
            return Fate.UNDECIDED

    async def connect(self) -> Any:
        """A connection of asyncpg's outside of the pool, which its caller closes."""
        return await self._connect(_SESSION, _COMMAND_SECONDS)

    async def _connect(self, session: str, command_timeout: float | None) -> Any:
        try:
            wire = await asyncpg.connect(self._url, timeout=_CONNECT_SECONDS, command_timeout=command_timeout)
        except ValueError as error:
            raise ConfigurationError(f"DATABASE_URL is not one of PostgreSQL: {error}") from error
        keep_alive(wire)
        try:
            await wire.execute(session)
        except BaseException:
            wire.terminate()  # nobody else would close it
            raise
        return wire

    @asynccontextmanager
    async def _connection(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with self._turn():
            try:
                connection = await engine.connect()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
                # Lost while it was being prepared, which SQLAlchemy does not turn into an error of its own.
                raise ConnectionResetError(str(error)) from error
            try:
                yield connection
            finally:
                await connection.close()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """First come, first served: the pool by itself gives a connection to whoever has just given it back."""
        async with asyncio.timeout(_POOL_SECONDS):
            await self._turns.acquire()
        try:
            yield
        finally:
            self._turns.release()

    def _make_engine(
        self, *, session: str = _SESSION, command_timeout: float | None = _COMMAND_SECONDS, **pool: Any
    ) -> AsyncEngine:
        engine = create_async_engine(
            "postgresql+alike://",
            async_creator=lambda: self._connect(session, command_timeout),
            execution_options={"compiled_cache": COMPILED},
            hide_parameters=True,  # errors are logged, and what is stored may be a token in a URL
            **pool,
        )
        event.listen(engine.sync_engine, "handle_error", _failed)
        return engine

    def _connected(self, connection: Any, record: Any) -> None:
        record.info[_SINCE] = self._clock.monotonic()
        record.info[_START] = connection.run_async(start_of_server)

    def _checked_out(self, connection: Any, record: Any, _proxy: object) -> None:
        """Takes no round trip: that the server has closed a connection is known here, and what is not, is repeated."""
        if connection.driver_connection.is_closed() or record.info[_SINCE] < self._trusted_from:
            raise DisconnectionError


def keep_alive(wire: Any) -> None:
    """Let the kernel notice that the peer of asyncpg's connection is gone."""
    connected: socket.socket | None = wire._transport.get_extra_info("socket")  # noqa: SLF001  # there is no other way
    if connected is None or connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if hasattr(socket, name):  # not everywhere
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _failed(context: ExceptionContext) -> None:
    """After a failover the old server may live on as a standby: every connection to it is to be replaced."""
    ours = context.connection is not None and context.connection.get_execution_options().get("postgresql_readonly")
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY and not ours:
        context.is_disconnect = True


def _is_refusal(error: Exception) -> bool:
    state = sqlstate(error) if isinstance(error, DBAPIError) else ""
    return state.startswith(_REFUSED) and state != _NOT_KNOWN
