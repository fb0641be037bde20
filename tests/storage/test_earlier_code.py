"""Code of earlier revisions on the newest tables: it stores what it always did, and today's code goes on with that.

What it would store is what its own migrations have room for. That it runs at all is a matter for real processes.
"""

import pytest
from sqlalchemy import Connection, update
from sqlalchemy.exc import IntegrityError

from service.storage.database import Database
from service.storage.migrations import OLDEST_CODE
from tests.storage.earlier import ENDPOINT_TABLE, revisions, rows_of, schema_of, tables_in, write
from tests.storage.going_on import everything, goes_on

# Before there was a release: 0003 numbers events, and their deliveries have a host; no default can say which.
NO_LONGER = ["0001", "0002"]
EARLIER = revisions()[:-1]


@pytest.mark.parametrize("revision", [revision for revision in EARLIER if revision not in NO_LONGER])
async def test_what_it_stores_is_stored_and_gone_on_with(database: Database, revision: str) -> None:
    known = schema_of(revision)

    def work(connection: Connection) -> None:
        tables = tables_in(connection)
        write(connection, tables, known)
        for name, table in known.tables.items():
            columns, key = tables.tables[name].columns, table.primary_key.columns.keys()
            for row in rows_of(table, endpoints=ENDPOINT_TABLE in known.tables):
                this_one = [columns[part] == row[part] for part in key]
                assert connection.execute(update(tables.tables[name]).where(*this_one).values(row)).rowcount == 1

    await database.run(work)
    stored = (await everything(database))[1]
    assert all(stored[name] for name in known.tables)
    await goes_on(database, endpoints=ENDPOINT_TABLE in known.tables)


@pytest.mark.parametrize("revision", NO_LONGER)
async def test_those_that_can_not_any_more_are_known(database: Database, revision: str) -> None:
    known = schema_of(revision)
    with pytest.raises(IntegrityError, match=r"(?i)not.null"):
        await database.run(lambda connection: write(connection, tables_in(connection), known))
    assert revision < OLDEST_CODE


def test_code_of_the_revision_before_may_run() -> None:
    assert EARLIER[-1] >= OLDEST_CODE
