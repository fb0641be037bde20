"""A statement said once in the words of the driver, for what every training runs: SQLAlchemy writes it from the tables,
and from then on only the driver is between us and the database.

Its own way to run one costs three to ten times what SQLite needs for it (docs/performance.md). Everything that is not
asked for each training goes that way all the same, by a session.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import ARRAY, ColumnElement, Dialect, Executable, Table, Text, bindparam, insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine
from sqlmodel import SQLModel

T = TypeVar("T")
Row = TypeVar("Row", bound=SQLModel)
Processor = Callable[[Any], Any]


def table_of(model: type[SQLModel]) -> Table:
    return SQLModel.metadata.tables[str(model.__tablename__)]


def frozen(model: type[Row], *, without: Collection[str] = ()) -> type[Row]:
    """Rows of this table as values: made and read like `model`, known to no session, never changed.

    A column without a value of its own is None: no default is made anew for each row. `without`: columns that are left
    where they are, since nobody asks these rows for them.
    """
    fields = model.model_fields
    columns = [name for name in table_of(model).columns.keys() if name not in without]  # noqa: SIM118  # it has no names itself
    made_anew = [name for name in columns if fields[name].is_required() or fields[name].default_factory]
    defaults = [None if name in made_anew else fields[name].default for name in columns]
    make: Any = namedtuple  # noqa: PYI024  # what it is made of is known at run time only
    row = make(f"{model.__name__}Row", columns, defaults=defaults)
    row.__tablename__ = model.__tablename__
    return cast("type[Row]", row)


def columns_of(row: type[Row]) -> list[Any]:
    """The columns of its table that a frozen row has."""
    names: Sequence[str] = row._fields  # type: ignore[attr-defined]
    table = table_of(row)
    return [table.c[name] for name in names]


def rows_of(row: type[Row]) -> Callable[[Any], Row]:
    """How a statement makes a frozen row of its columns."""
    made: Callable[[Any], Row] = row._make  # type: ignore[attr-defined]
    return made


@dataclass(frozen=True, slots=True)
class Said:
    """A statement as one kind of database takes it: its text, the names of its parameters in their order, the values
    of those that are the same each time, and what becomes of a parameter before, and of a column after.

    `lists`: the places of those that are lists, where one parameter can't be one.
    """

    text: str
    names: tuple[str, ...]
    fixed: Mapping[str, Any]
    into: tuple[tuple[int, Processor], ...]
    out_of: tuple[tuple[int, Processor], ...]
    lists: tuple[int, ...] = ()

    def call(self, values: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
        """Text and parameters."""
        named = {**self.fixed, **values} if self.fixed else values
        given = self.processed([named[name] for name in self.names])
        return _spread(self.text, given, self.lists) if self.lists else (self.text, given)

    def processed(self, given: list[Any]) -> tuple[Any, ...]:
        for place, process in self.into:
            given[place] = process(given[place])
        return tuple(given)

    def columns(self, found: Sequence[Any]) -> Sequence[Any]:
        columns = list(found)
        for place, process in self.out_of:
            columns[place] = process(columns[place])
        return columns


class Statement(Generic[T]):
    """`row` makes one of what comes back, column by column."""

    def __init__(self, core: Executable, row: Callable[[Any], T] | None = None) -> None:
        self._core: Any = core
        self.row: Callable[[Any], Any] = row or tuple
        self._said: dict[str, Said] = {}

    def for_(self, dialect: Dialect) -> Said:
        said = self._said.get(dialect.name)
        if said is None:
            said = self._said[dialect.name] = self._say(dialect)
        return said

    def _say(self, dialect: Dialect) -> Said:
        compiled = self._core.compile(dialect=dialect)
        names = tuple(compiled.positiontup or ())
        into = [compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names]
        returned = getattr(self._core, "exported_columns", ())
        out_of = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in returned]
        fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        lists = [place for place, name in enumerate(names) if isinstance(compiled.binds[name].type, _Names)]
        return Said(
            text=compiled.string,
            names=names,
            fixed=fixed,
            into=_places(into),
            out_of=_places(out_of),
            lists=tuple(lists) if dialect.name == "sqlite" else (),
        )


class Change(Statement[Any]):
    """One of which only counts how many rows it changes."""


class Insert(Change):
    """Inserts a row, whether frozen or not. `yields`: unless a unique index has one like it."""

    def __init__(self, table: Table, *, yields: bool) -> None:
        super().__init__(insert(table))
        # In words of both databases, for which SQLAlchemy has an insert of each.
        self._ending = " ON CONFLICT DO NOTHING" if yields else ""
        self._values = attrgetter(*table.columns.keys())
        self._order = list(table.columns.keys())

    def _say(self, dialect: Dialect) -> Said:
        said = super()._say(dialect)
        if list(said.names) != self._order:
            raise TypeError(f"{said.text} names its columns in another order than the table")
        return replace(said, text=f"{said.text}{self._ending}")

    def values(self, row: SQLModel, **others: Any) -> list[Any]:
        """Those of the row, and `others` in place of some."""
        given = list(self._values(row))
        for name, value in others.items():
            given[self._order.index(name)] = value
        return given


class _Names(TypeDecorator[Sequence[str]]):
    """A list of any length as one parameter: an array, where there are some."""

    impl = ARRAY(Text)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else ARRAY(Text))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        del dialect
        return list(value)


_OPEN = "(/*list*/ "


def _spread(text: str, given: tuple[Any, ...], lists: tuple[int, ...]) -> tuple[str, tuple[Any, ...]]:
    """Each list with parameters of its own, their number a power of two, so that there are few different texts. What
    is too many is the last one again; in an empty list it is the empty string, which is nobody's name.
    """
    spread: list[Any] = []
    parts = iter(text.split(f"{_OPEN}?"))
    said = [next(parts)]
    for place, value in enumerate(given):
        if place not in lists:
            spread.append(value)
            continue
        names = value or [""]
        room = 1 << (len(names) - 1).bit_length()
        spread += [*names, *names[-1:] * (room - len(names))]
        said += ["(", ",".join("?" * room), next(parts)]
    return "".join(said), tuple(spread)


class _Listed(ColumnElement[Any]):
    inherit_cache = False

    def __init__(self, column: Any, name: str, *, wanted: bool) -> None:
        self.type = NullType()  # as a truth value it would be compared with 1 on SQLite, and by no index
        self.column = column
        self.given = bindparam(name, type_=_Names())
        self.wanted = wanted


def listed(column: Any, name: str) -> ColumnElement[bool]:
    """`column IN` the list given as the parameter `name`: one statement for lists of all lengths."""
    return _Listed(column, name, wanted=True)


def unlisted(column: Any, name: str) -> ColumnElement[bool]:
    """The same, `NOT IN`."""
    return _Listed(column, name, wanted=False)


@compiles(_Listed, "sqlite")
def _listed_one_by_one(element: _Listed, compiler: Any, **options: Any) -> str:
    column, given = compiler.process(element.column, **options), compiler.process(element.given, **options)
    return f"{column} {'IN' if element.wanted else 'NOT IN'} {_OPEN}{given})"


@compiles(_Listed)
def _listed_in_array(element: _Listed, compiler: Any, **options: Any) -> str:
    column, given = compiler.process(element.column, **options), compiler.process(element.given, **options)
    return f"{column} {'= ANY' if element.wanted else '<> ALL'} ({given})"


def parameters(table: Table, columns: Iterable[str]) -> dict[str, Any]:
    """Values of these columns that are given when a statement is run, by the names `new_COLUMN`."""
    return {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in columns}


def values(**columns: Any) -> dict[str, Any]:
    """Those values, by these names."""
    return {f"new_{name}": value for name, value in columns.items()}


def _places(processors: Sequence[Processor | None]) -> tuple[tuple[int, Processor], ...]:
    return tuple((place, process) for place, process in enumerate(processors) if process is not None)
