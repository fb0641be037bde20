"""What the benchmark puts into the gateway's database is what the gateway would have stored."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.rows import TENANT, Due, store_deliveries
from bench.targets import Place, Watched
from bench.watched import store_watched
from service.storage.database import Database
from service.storage.migrations import migrate
from service.storage.tables import Callback, Delivery, Event, Training
from tests.support.rows import a_tenant, store, stored

_DUE = datetime(2026, 11, 23, 12, tzinfo=UTC)
_HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
    await migrate(database)
    await store(database, a_tenant(TENANT))
    await database.close()
    return Place(tmp_path, 1, "http://127.0.0.1:2/api", 3, poll_interval=300)


async def test_watched_models_are_alike_but_for_what_is_their_own(place: Place) -> None:
    file = place.folder / "gateway.db"
    store_watched(file, place, Watched(1000, _DUE.timestamp(), 100, _HOSTS))
    database = Database(f"sqlite:///{file}")
    trainings, callbacks = await stored(database, Training), await stored(database, Callback)
    await database.close()
    own = {"id", "model_id", "due_at", "last_polled_at"}
    assert len({row.model_dump_json(exclude=own) for row in trainings}) == 1
    assert {row.model_id for row in trainings} == {f"watched-{number:07d}" for number in range(1000)}
    due = sorted((row.due_at - _DUE).total_seconds() for row in trainings if row.due_at)
    assert due == pytest.approx([number / 10 for number in range(1000)], abs=0.002)
    assert all(row.due_at and row.last_polled_at for row in trainings)
    by_id = {row.id: row for row in trainings}
    assert {row.training_id for row in callbacks} == by_id.keys()
    for row in callbacks:
        model_id = by_id[row.training_id].model_id
        assert row.url == place.callback_url(model_id, _HOSTS[int(model_id[-7:]) % len(_HOSTS)])


def test_a_copy_is_stored_in_the_words_of_the_first(place: Place) -> None:
    file = place.folder / "gateway.db"
    store_watched(file, place, Watched(2, _DUE.timestamp() + 0.25, 60, _HOSTS))
    with closing(sqlite3.connect(file)) as connection:
        moments = connection.execute("SELECT due_at, last_polled_at FROM trainings ORDER BY due_at").fetchall()
        kinds = connection.execute("SELECT DISTINCT typeof(due_at), length(id) FROM trainings").fetchall()
    assert moments == [
        ("2026-11-23 12:00:00.250000", "2026-11-23 11:55:00.250000"),
        ("2026-11-23 12:00:30.250000", "2026-11-23 11:55:30.250000"),
    ]
    assert kinds == [("text", 30)]


async def test_due_deliveries_are_one_of_each_kind_for_each_host_in_turn(place: Place) -> None:
    file = place.folder / "gateway.db"
    store_deliveries(file, place, Due(9, _HOSTS, _DUE.timestamp()))
    database = Database(f"sqlite:///{file}")
    deliveries, events = await stored(database, Delivery), await stored(database, Event)
    await database.close()
    assert len(events) == len(deliveries) == 9
    assert sorted(row.host for row in deliveries) == sorted(f"{host}:{place.receiver_port}" for host in _HOSTS * 3)
    assert {row.due_at for row in deliveries} == {_DUE}
