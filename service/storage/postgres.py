"""PostgreSQL: pooled asyncpg connections; SQLAlchemy's own bridge runs the same synchronous units of work on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

T = TypeVar("T")

_POOL = 16


class Postgres:
    def __init__(self, url: str) -> None:
        self._engine: AsyncEngine = create_async_engine(
            url.replace("postgresql://", "postgresql+asyncpg://", 1),
            pool_size=_POOL,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,  # errors are logged, and what is stored may be a token in a URL
        )
        self._reading = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    async def write(self, work: Callable[[Connection], T]) -> T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        async with self._reading.connect() as connection:
            return await connection.run_sync(work)

    migrate = write

    async def scrub(self) -> bool:
        """The server's own vacuum takes what was erased out of its files; nobody else can."""
        return True

    async def close(self) -> None:
        await self._engine.dispose()
