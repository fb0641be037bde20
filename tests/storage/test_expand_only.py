"""Lint of the migrations, by what they do to a PostgreSQL: they expand, so that the release before can run on.

Allowed are new tables, new indexes, and columns that are nullable or have a default, for one table that is there: who
locks several stands across from requests, which lock them in another order. What locks more, takes something away,
forbids something or touches every row stands in `CONTRACTS`, with the reason.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Inspector, event, inspect, text

from service.storage import migrations
from service.storage.database import Database
from service.storage.migrations import OLDEST_CODE
from tests.storage.earlier import revisions


@dataclass(frozen=True, slots=True)
class Contract:
    """What a revision does beyond expanding, why that is right, and whose code does not need what it takes away."""

    does: frozenset[str]
    reason: str
    unused_since: str


CONTRACTS = {
    "0002": Contract(
        frozenset({"tenants, trainings are locked together"}), "Before the first release.", unused_since="0001"
    ),
    "0003": Contract(
        frozenset(
            {
                "deliveries.callback_id may be null",
                "deliveries.training_id may be null",
                "deliveries.endpoint_id refers to webhook_endpoints",
                "deliveries.give_up_at must be given",
                "deliveries.host must be given",
                "deliveries: index ix_deliveries_order is gone",
                "deliveries: index uq_deliveries_target is gone",
                "deliveries: index ix_deliveries_due is another",
                "deliveries: index uq_deliveries_callback is unique",
                "deliveries: index uq_deliveries_endpoint is unique",
                "deliveries: rows are changed",
                "events.position must be given",
                "events.training_id may be null",
                "events: index uq_events_position is unique",
                "events: rows are changed",
                "idempotency_keys.training_id may be null",
                "tenants: rows are changed",
                "callbacks, deliveries, events, idempotency_keys, tenants, trainings are locked together",
            }
        ),
        "Before the first release: nothing ran that had to go on.",
        unused_since="0003",
    ),
    "0005": Contract(
        frozenset({"deliveries: index ix_deliveries_due is another"}),
        "Before the first release. The new one serves the old queries, too.",
        unused_since="0003",
    ),
    "0006": Contract(
        frozenset({"tenants, trainings are locked together"}),
        "Before the first release. Under much load it may have to be tried again.",
        unused_since="0005",
    ),
}
_BEFORE_THE_FIRST_RELEASE = ("0003",)

Schema = dict[str, dict[str, Any]]


def schema_of(connection: Connection) -> Schema:
    """The name and then what there is to say of each column, index and reference, and where the rows are."""
    found = inspect(connection)
    return {
        table: {
            "columns": {column["name"]: column for column in found.get_columns(table)},
            "indexes": {index["name"]: index for index in found.get_indexes(table)},
            "references": {
                (*one["constrained_columns"], one["referred_table"]) for one in found.get_foreign_keys(table)
            },
            "rules": rules_of(found, table),
            "place": connection.scalar(text("SELECT pg_relation_filenode(CAST(:table AS regclass))"), {"table": table}),
        }
        for table in found.get_table_names()
        if table != "alembic_version"
    }


def rules_of(found: Inspector, table: str) -> set[str]:
    checks = {f"check {one['sqltext']}" for one in found.get_check_constraints(table)}
    uniques = {f"unique {', '.join(one['column_names'])}" for one in found.get_unique_constraints(table)}
    return checks | uniques | {f"primary key {', '.join(found.get_pk_constraint(table)['constrained_columns'])}"}


def beyond_expanding(before: Schema, after: Schema) -> set[str]:
    found = {f"{table} is gone" for table in before.keys() - after.keys()}
    for table in before.keys() & after.keys():
        was, now = before[table], after[table]
        found |= {f"{table}.{what}" for what in columns_beyond(was["columns"], now["columns"])}
        found |= {f"{table}: index {what}" for what in indexes_beyond(was["indexes"], now["indexes"])}
        found |= {f"{table}.{columns[0]} refers to {columns[-1]}" for columns in now["references"] - was["references"]}
        found |= {f"{table}: {rule} is new" for rule in now["rules"] - was["rules"]}
        if was["place"] != now["place"]:
            found.add(f"{table} is written anew")
    return found


def columns_beyond(was: dict[str, Any], now: dict[str, Any]) -> set[str]:
    found = {f"{name} is gone" for name in was.keys() - now.keys()}
    for name in now.keys() - was.keys():
        if not now[name]["nullable"] and now[name]["default"] is None:
            found.add(f"{name} must be given")
    for name in was.keys() & now.keys():
        if was[name]["nullable"] and not now[name]["nullable"]:
            found.add(f"{name} must not be null")
        if now[name]["nullable"] and not was[name]["nullable"]:
            found.add(f"{name} may be null")
        if str(was[name]["type"]) != str(now[name]["type"]):
            found.add(f"{name} is of another type")
        if was[name]["default"] is not None and was[name]["default"] != now[name]["default"]:
            found.add(f"{name} has another default")
    return found


def indexes_beyond(was: dict[str, Any], now: dict[str, Any]) -> set[str]:
    found = {f"{name} is gone" for name in was.keys() - now.keys()}
    found |= {f"{name} is unique" for name in now.keys() - was.keys() if now[name]["unique"]}
    return found | {f"{name} is another" for name in was.keys() & now.keys() if was[name] != now[name]}


# By this transaction, so that others can't read or can't write.
_LOCKED = """
    SELECT relname FROM pg_locks JOIN pg_class ON pg_class.oid = relation
    WHERE pid = pg_backend_pid() AND relkind = 'r'
    AND mode IN ('AccessExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock')
"""


def done_by(connection: Connection, work: Any) -> set[str]:
    """Run `work`, which changes the schema, and say what it does beyond expanding it."""
    changed: set[str] = set()

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        verb, *rest = statement.split()
        if verb.upper() in ("UPDATE", "DELETE"):
            changed.add(rest[0] if verb.upper() == "UPDATE" else rest[1])

    before = schema_of(connection)
    event.listen(connection, "before_cursor_execute", note)
    work(connection)
    event.remove(connection, "before_cursor_execute", note)
    locked = sorted(set(connection.scalars(text(_LOCKED))) & before.keys())
    if len(locked) > 1:
        return {f"{', '.join(locked)} are locked together"} | beyond(connection, before, changed)
    return beyond(connection, before, changed)


def beyond(connection: Connection, before: Schema, changed: set[str]) -> set[str]:
    return beyond_expanding(before, schema_of(connection)) | {
        f"{table}: rows are changed" for table in changed & before.keys()
    }


async def test_each_revision_only_expands_or_says_why_it_does_not(postgres_database_url: str) -> None:
    database = Database(postgres_database_url)
    found = {
        revision: await database.migrate(partial(done_by, work=partial(migrations.upgrade, revision=revision)))
        for revision in revisions()
    }
    await database.close()
    assert found == {revision: CONTRACTS[revision].does if revision in CONTRACTS else set() for revision in found}


@pytest.mark.parametrize("revision", [name for name in CONTRACTS if name not in _BEFORE_THE_FIRST_RELEASE])
def test_what_is_taken_away_the_release_before_does_not_need(revision: str) -> None:
    """And no code that does starts on the database any more."""
    assert CONTRACTS[revision].reason
    assert CONTRACTS[revision].unused_since < revision
    assert CONTRACTS[revision].unused_since <= OLDEST_CODE


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("CREATE TABLE new (id INTEGER PRIMARY KEY, other VARCHAR NOT NULL REFERENCES tenants (id))", set()),
        ("ALTER TABLE trainings ADD COLUMN new VARCHAR", set()),
        ("ALTER TABLE trainings ADD COLUMN new BOOLEAN NOT NULL DEFAULT false", set()),
        ("CREATE INDEX ix_new ON trainings (model_id)", set()),
        ("DROP TABLE call_counts", {"call_counts is gone"}),
        ("ALTER TABLE trainings DROP COLUMN readings", {"trainings.readings is gone"}),
        ("ALTER TABLE trainings RENAME COLUMN readings TO seen",
         {"trainings.readings is gone", "trainings.seen must be given"}),
        ("ALTER TABLE tenants ADD COLUMN new VARCHAR NOT NULL", {"tenants.new must be given"}),
        ("ALTER TABLE trainings ALTER COLUMN triggered_at SET NOT NULL", {"trainings.triggered_at must not be null"}),
        ("ALTER TABLE trainings ALTER COLUMN model_id DROP NOT NULL", {"trainings.model_id may be null"}),
        ("ALTER TABLE trainings ALTER COLUMN queues DROP DEFAULT", {"trainings.queues has another default"}),
        ("ALTER TABLE trainings ALTER COLUMN fence TYPE BIGINT",
         {"trainings.fence is of another type", "trainings is written anew"}),
        ("ALTER TABLE trainings ADD COLUMN new FLOAT DEFAULT random()", {"trainings is written anew"}),
        ("ALTER TABLE trainings ADD CHECK (fence < 100)", {"trainings: check fence < 100 is new"}),
        ("ALTER TABLE events ADD FOREIGN KEY (tenant_id) REFERENCES tenants (id)",
         {"events.tenant_id refers to tenants", "events, tenants are locked together"}),
        ("CREATE UNIQUE INDEX uq_new ON trainings (model_id)", {"trainings: index uq_new is unique"}),
        ("DROP INDEX ix_trainings_due", {"trainings: index ix_trainings_due is gone"}),
        ("UPDATE trainings SET fence = 0", {"trainings: rows are changed"}),
        ("DELETE FROM attempts", {"attempts: rows are changed"}),
    ],
)  # fmt: skip
async def test_the_lint_itself(postgres: Database, statement: str, found: set[str]) -> None:
    class Undone(Exception):
        pass

    def work(connection: Connection) -> None:
        assert done_by(connection, lambda connection: connection.exec_driver_sql(statement)) == found
        raise Undone

    with pytest.raises(Undone):
        await postgres.migrate(work)
