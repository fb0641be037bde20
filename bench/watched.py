"""Very many watched models, put into the gateway's database at once.

The first goes in by the gateway's own tables, which say what a row needs; SQL copies it with what has to differ: a
million in seconds.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, create_engine, insert, text
from sqlmodel import SQLModel

from bench.rows import callback_row, training_row
from bench.targets import Place, Watched
from service.storage.tables import Callback, Training

_CACHE_KIB = -500_000
# Polls have a jitter: after a few rounds of them what is due next is no neighbour in the file any more.
_MIXED = 10
_PLACES = """WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < :last),
places AS (SELECT number, row_number() OVER (ORDER BY number + number * 7919 % :mixed) AS place FROM numbers)"""
# An id's first 14 letters are its kind and time, the other 16 are its own.
_NEW_ID = "substr(first.id, 1, 14) || printf('%016d', number)"


def store_watched(file: Path, place: Place, watched: Watched) -> None:
    rng = random.Random(watched.count)
    due_at = datetime.fromtimestamp(watched.first_due, UTC)
    # Read one interval before it is due, as if this were an ordinary poll.
    polled_at = due_at - timedelta(seconds=place.poll_interval)
    first = training_row(0, polled_at, rng, {"due_at": due_at, "status": "training"})
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(text(f"PRAGMA cache_size={_CACHE_KIB}"))
        connection.execute(insert(Training), [first])
        if watched.count > 1:
            _copy_trainings(connection, due_at, polled_at, watched)
        if watched.hosts:
            url = place.callback_url(first["model_id"], watched.hosts[0])
            connection.execute(insert(Callback), [callback_row(first, url, rng)])
            _copy_callbacks(connection, watched.hosts)
    engine.dispose()


def _copy_trainings(connection: Connection, due_at: datetime, polled_at: datetime, watched: Watched) -> None:
    changed = {
        "id": _NEW_ID,
        "model_id": "printf('watched-%07d', number)",
        "due_at": _moment("due"),
        "last_polled_at": _moment("polled"),
    }
    connection.execute(
        text(f"{_PLACES} {_copies(Training, changed)} FROM trainings AS first, places ORDER BY number"),
        {
            "last": watched.count - 1,
            "mixed": max(1, watched.count // _MIXED),
            "due": due_at.timestamp(),
            "polled": polled_at.timestamp(),
            "step": watched.spread / watched.count,
        },
    )


def _copy_callbacks(connection: Connection, hosts: Sequence[str]) -> None:
    """One for each training that has none yet, with the hosts in turn."""
    changed = {
        "id": _NEW_ID,
        "training_id": "watched.id",
        "url": "replace(replace(first.url, 'watched-0000000', watched.model_id), :host, value)",
    }
    watched = (
        "(SELECT id, model_id, CAST(substr(model_id, 9) AS INTEGER) AS number FROM trainings"
        " WHERE model_id <> 'watched-0000000') AS watched"
    )
    connection.execute(
        text(
            f"{_copies(Callback, changed)} FROM callbacks AS first, {watched}"
            " JOIN json_each(:hosts) ON key = number % :count"
        ),
        {"host": hosts[0], "hosts": json.dumps(list(hosts)), "count": len(hosts)},
    )


def _copies(table: type[SQLModel], changed: Mapping[str, str]) -> str:
    """All of the row `first` but for what is changed."""
    name = str(table.__tablename__)
    columns = [column.name for column in SQLModel.metadata.tables[name].columns]
    values = [changed.get(column, f"first.{column}") for column in columns]
    return f"INSERT INTO {name} ({', '.join(columns)}) SELECT {', '.join(values)}"


def _moment(begin: str) -> str:
    """In the words in which SQLAlchemy stores it."""
    return f"strftime('%Y-%m-%d %H:%M:%f', :{begin} + :step * place, 'unixepoch') || '000'"
