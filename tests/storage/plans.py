"""How the database goes about what a unit of work asks of it: the plan of each of its statements, in SQLite's words."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from service.storage.database import Database, UnitOfWork
from tests.support.statements import hearing

_EVERY = 100
_EXPLAINED = ("SELECT", "UPDATE", "DELETE")


@dataclass
class Plan:
    """`steps`: "SEARCH deliveries USING INDEX ix", "SCAN deliveries" if it is read from end to end, "SORT 7 rows".

    `effort`: on PostgreSQL the rows that SELECTs read, on SQLite the instructions of its virtual machine, which are
    some 10 to 20 a row.
    """

    steps: list[str] = field(default_factory=list)
    effort: int = 0

    def indexes(self, table: str) -> set[str]:
        """The indexes by which this table is read, whatever other names it has in a statement."""
        mine = [step for step in self.steps if step.split()[1].startswith(table)]
        return {step.split(" INDEX ")[1].split()[0] for step in mine if " INDEX " in step}

    @property
    def read_whole(self) -> set[str]:
        """The tables that are read from end to end."""
        return {step.split()[1] for step in self.steps if step.startswith("SCAN ") and " INDEX " not in step}

    @property
    def sorted_rows(self) -> int:
        """How many rows are sorted; SQLite does not say, so any sort of it counts as very many."""
        return max((int(float(step.split()[1])) for step in self.steps if step.startswith("SORT")), default=0)


async def plan_of(database: Database, work: Callable[[UnitOfWork], object], *, small: bool) -> Plan:
    """Do `work`, looking at how it is done, and undo it.

    `small`: the tables are small enough for PostgreSQL to rather read them whole, which it is not to do then.
    """
    plan = Plan()

    def look(unit: UnitOfWork) -> None:
        plan.steps.clear()
        plan.effort = 0  # what raises may run twice
        connection = unit.transaction.connection
        if small and connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        with _looking(connection, plan):
            work(unit)
            unit.session.flush()
        raise _Undone

    try:
        await database.transaction(look)
    except _Undone:
        return plan
    raise AssertionError("a plan was looked at, and its work not undone")


async def let_planner_know(database: Database) -> None:
    """PostgreSQL's is to know the rows that are there now, not those of earlier tests."""
    if not database.has_one_writer:
        await database.run(lambda connection: connection.exec_driver_sql("ANALYZE trainings, tenants"))


class _Undone(Exception):
    pass


@contextmanager
def _looking(connection: Connection, plan: Plan) -> Iterator[None]:
    sqlite = connection.dialect.name == "sqlite"
    explaining = False

    def explain(statement: str, parameters: Any) -> None:
        nonlocal explaining
        if explaining or not statement.startswith(_EXPLAINED):
            return
        explaining = True
        (_explain_sqlite if sqlite else _explain_postgres)(connection, statement, parameters, plan)
        explaining = False

    def count() -> None:
        plan.effort += _EVERY

    if sqlite:
        _driver(connection).set_progress_handler(count, _EVERY)
    try:
        with hearing(connection, explain):
            yield
    finally:
        if sqlite:
            _driver(connection).set_progress_handler(None, 0)


def _driver(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def _explain_sqlite(connection: Connection, statement: str, parameters: Any, plan: Plan) -> None:
    for *_, step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters):
        if step.startswith("USE TEMP B-TREE"):
            plan.steps.append("SORT 1000000 rows")
        elif step.startswith(("SEARCH", "SCAN")):
            plan.steps.append(step.replace("COVERING INDEX", "INDEX"))


def _explain_postgres(connection: Connection, statement: str, parameters: Any, plan: Plan) -> None:
    analyze = ", ANALYZE" if statement.startswith("SELECT") else ""  # which would also do what it explains
    found = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON{analyze}) {statement}", parameters).scalar_one()
    [explained] = json.loads(found) if isinstance(found, str) else found
    for node in _nodes(explained["Plan"]):
        _note(node, plan)


def _nodes(node: dict[str, Any], relation: str = "") -> Iterator[dict[str, Any]]:
    """A node and those below it; one that reads an index for another is given the name of that one's table."""
    node.setdefault("Relation Name", relation)
    yield node
    for child in node.get("Plans", []):
        bitmap = node["Node Type"] in {"Bitmap Heap Scan", "BitmapOr", "BitmapAnd"}
        yield from _nodes(child, node["Relation Name"] if bitmap else "")


def _note(node: dict[str, Any], plan: Plan) -> None:
    kind, table, index = node["Node Type"], node["Relation Name"], node.get("Index Name")
    if kind in {"Sort", "Incremental Sort"}:
        plan.steps.append(f"SORT {node.get('Actual Rows', node['Plan Rows'])} rows")
    if index:
        plan.steps.append(f"{'SEARCH' if 'Index Cond' in node else 'SCAN'} {table} USING INDEX {index}")
    elif kind == "Seq Scan":
        plan.steps.append(f"SCAN {table}")
    if kind.endswith("Scan") and "Actual Rows" in node:
        removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        plan.effort += (node["Actual Rows"] + removed) * node["Actual Loops"]
