"""A COMMIT to PostgreSQL that was sent and not answered: what came of it is read back, never guessed.

The transaction's own number is asked for before the COMMIT, and its fate over another connection afterwards. A crash of
the server loses the numbers that were not on the disk yet, and they are given out anew; so a transaction counts as
stored only where the server has not started anew since. That it is not stored can always be believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from service.storage.unavailable import sqlstate

# Fails where a COMMIT would be answered with a rollback: in a transaction that has failed already.
_OWN_NUMBER = text("SELECT CAST(pg_current_xact_id_if_assigned() AS text)")
# Changes with each start, with each recovery from a crash (which forgets the statistics), and with the server.
_START = "SELECT CAST(pg_postmaster_start_time() AS text) || ' ' || CAST(stats_reset AS text) FROM pg_stat_bgwriter"
_FATE = text("SELECT pg_is_in_recovery(), pg_xact_status(CAST(CAST(:number AS text) AS xid8))")
# "transaction ID is in the future": the server has lost it, or was not the one that gave it out.
_NOT_GIVEN_OUT = "22023"


class Fate(StrEnum):
    STORED = "stored"
    UNDONE = "undone"
    UNDECIDED = "undecided"
    UNKNOWABLE = "unknowable"


@dataclass(frozen=True, slots=True)
class InDoubt:
    """A transaction whose COMMIT failed with `error`: its number, and the start of the server that gave it out."""

    number: str
    start: str
    error: Exception


async def start_of_server(connection: Any) -> str:
    """`connection`: asyncpg's own."""
    return str(await connection.fetchval(_START))


async def own_number(connection: AsyncConnection) -> str | None:
    """None: the transaction under way has written nothing, and has nothing to lose."""
    number: str | None = await connection.scalar(_OWN_NUMBER)
    return number


async def fate_of(doubt: InDoubt, connection: AsyncConnection, start: str) -> Fate:
    """As the server behind `connection` knows it, whose start this is. UNDECIDED: ask again."""
    try:
        standby, status = (await connection.execute(_FATE, {"number": doubt.number})).one()
    except DBAPIError as error:
        if sqlstate(error) == _NOT_GIVEN_OUT:
            return Fate.UNDONE
        raise
    if standby or status == "in progress":
        return Fate.UNDECIDED
    if status == "aborted":
        return Fate.UNDONE
    return Fate.STORED if status == "committed" and start == doubt.start else Fate.UNKNOWABLE
