"""What the migrations come to on SQLite, as `migrations/newest.sql` has it. `make schema` writes it anew."""

from __future__ import annotations

import asyncio
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, text

from service.storage import migrations
from service.storage.database import Database

_HEAD = "-- What the migrations come to on a new SQLite file; `make schema` writes it.\n"


def tables_and_indexes(connection: Connection) -> list[str]:
    """As they were made, in that order, but for the ends of lines, where Alembic leaves blanks."""
    made = connection.scalars(text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"))
    return ["\n".join(line.rstrip() for line in statement.splitlines()) for statement in made]


async def migrated_step_by_step() -> list[str]:
    with TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/empty.db")
        await database.migrate(lambda connection: migrations.upgrade(connection, "0001"))
        await migrations.migrate(database)
        statements = await database.run(tables_and_indexes)
        await database.close()
    return statements


if __name__ == "__main__":
    made = asyncio.run(migrated_step_by_step())
    migrations.NEWEST_SCHEMA.write_text(_HEAD + ";\n".join(made) + "\n", "utf-8")
