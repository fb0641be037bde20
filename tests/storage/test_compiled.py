"""Statements are compiled once for all engines of a process that speak the same dialect."""

from typing import Any

from sqlmodel import col, select

from service.storage.compiled import COMPILED
from service.storage.database import Database
from service.storage.tables import Training


async def look(database: Database, name: str) -> None:
    """A statement that nobody else makes: `name` is a part of it."""
    label: Any = col(Training.id).label(name)
    assert await database.read(lambda unit: unit.session.exec(select(label)).all()) == []


async def test_what_one_database_has_compiled_another_finds(database: Database, database_url: str) -> None:
    COMPILED.clear()
    await look(database, "the_same")
    assert len(COMPILED) == 1
    another = Database(database_url)
    await look(another, "the_same")
    await another.close()
    assert len(COMPILED) == 1
    await look(database, "not_the_same")
    assert len(COMPILED) == 2


async def test_each_dialect_has_its_own(sqlite: Database, postgres: Database) -> None:
    COMPILED.clear()
    await look(sqlite, "the_same")
    await look(postgres, "the_same")
    assert len(COMPILED) == 2
