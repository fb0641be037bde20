"""A column that a condition checks and that no index is chosen for.

SQLite knows nothing of the rows: it would rather go by two columns that nearly all rows agree in than by one that leads
to a few. Its own word for this is a plus sign; PostgreSQL has statistics, and needs to be told nothing.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class unindexed(FunctionElement[str]):  # noqa: N801  # as other SQL functions are named
    type = String()
    inherit_cache = True


@compiles(unindexed)
def _plainly(element: unindexed, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(unindexed, "sqlite")
def _with_a_plus(element: unindexed, compiler: SQLCompiler, **options: Any) -> str:
    return "+" + compiler.process(element.clauses, **options)
