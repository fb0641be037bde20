"""Trainings and their callbacks: who sees which, in what order, and what moves their polls."""

import asyncio
from datetime import timedelta

from sqlmodel import col, update

from service.domain.event import EventType
from service.domain.training import Status
from service.storage.database import Database, UnitOfWork
from service.storage.tables import Callback, Training
from tests.storage.interleaving import uncommitted, wait_for_a_blocked_transaction
from tests.support.rows import LEASE, NOW, a_callback, a_tenant, a_training, store, stored, stored_one

MINUTE = timedelta(minutes=1)


class TestFinding:
    async def test_the_active_training_of_a_model_is_found(self, database: Database) -> None:
        await store(
            database,
            a_tenant("ten_a"),
            a_tenant("ten_b"),
            a_training("trn_ended", model="m", status=Status.READY),
            a_training("trn_active", model="m"),
            a_training("trn_other", model="n"),
            a_training("trn_foreign", model="m", tenant="ten_b"),
            a_training("trn_over", model="o", status=Status.DELETED),
        )

        async def active(tenant: str, model: str) -> str | None:
            found = await database.read(lambda unit: unit.trainings.active(tenant, model))
            return found.id if found else None

        assert await active("ten_a", "m") == "trn_active"
        assert await active("ten_b", "m") == "trn_foreign"
        assert await active("ten_a", "o") is None
        assert await active("ten_b", "n") is None

    async def test_one_that_is_held_is_not_ending_at_this_moment(self, postgres: Database, postgres_url: str) -> None:
        """Otherwise a callback could join a training whose event is on its way to those who were there before."""
        await store(postgres, a_tenant("ten_a"), a_training("trn_1", model="m"))

        def end(unit: UnitOfWork) -> None:
            ended = update(Training).where(col(Training.id) == "trn_1").values(status=Status.READY, finished_at=NOW)
            unit.session.exec(ended)

        async with uncommitted(postgres_url, end):
            joining = asyncio.create_task(
                postgres.transaction(lambda unit: unit.trainings.active("ten_a", "m", hold=True))
            )
            await wait_for_a_blocked_transaction(postgres)
        assert await joining is None

    async def test_another_tenants_training_looks_like_an_absent_one(self, database: Database) -> None:
        await store(database, a_tenant("ten_a"), a_tenant("ten_b"), a_training("trn_1"))

        async def get(tenant: str, id: str) -> Training | None:
            return await database.read(lambda unit: unit.trainings.get(tenant, id))

        assert await get("ten_b", "trn_1") is None
        assert await get("ten_b", "trn_absent") is None
        found = await get("ten_a", "trn_1")
        assert found is not None
        assert found.id == "trn_1"

    async def test_metadata_comes_back_as_it_was_given(self, database: Database) -> None:
        training = a_training()
        training.caller_metadata = {"name": "Zoë 🦊\u0000", "n": 2**53, "nested": {"list": [1.5, None, True, ""]}}
        await store(database, a_tenant(), training)
        assert (await stored_one(database, Training)).caller_metadata == {
            "name": "Zoë 🦊\u0000",
            "n": 9007199254740992,
            "nested": {"list": [1.5, None, True, ""]},
        }


class TestPages:
    async def filled(self, database: Database) -> None:
        await store(
            database,
            a_tenant("ten_a"),
            a_tenant("ten_b"),
            a_training("trn_0", model="m", status=Status.READY),
            a_training("trn_1", model="m", status=Status.FAILED),
            a_training("trn_2", model="n", status=Status.READY),
            a_training("trn_3", model="m"),
            a_training("trn_4", model="n"),
            a_training("trn_b", model="m", tenant="ten_b"),
        )

    async def page(
        self,
        database: Database,
        tenant: str = "ten_a",
        *,
        status: str | None = None,
        model_id: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> list[str]:
        found = await database.read(
            lambda unit: unit.trainings.page(tenant, status=status, model_id=model_id, before=before, limit=limit)
        )
        return [training.id for training in found]

    async def test_newest_first(self, database: Database) -> None:
        await self.filled(database)
        assert await self.page(database) == ["trn_4", "trn_3", "trn_2", "trn_1", "trn_0"]

    async def test_each_begins_where_the_one_before_ended(self, database: Database) -> None:
        await self.filled(database)
        assert await self.page(database, limit=2) == ["trn_4", "trn_3"]
        assert await self.page(database, limit=2, before="trn_3") == ["trn_2", "trn_1"]
        assert await self.page(database, limit=2, before="trn_1") == ["trn_0"]
        assert await self.page(database, limit=2, before="trn_0") == []

    async def test_one_added_meanwhile_moves_no_later_page(self, database: Database) -> None:
        await self.filled(database)
        await store(database, a_training("trn_5", model="o"))
        assert await self.page(database, limit=2, before="trn_3") == ["trn_2", "trn_1"]

    async def test_filters_narrow_them_together(self, database: Database) -> None:
        await self.filled(database)
        assert await self.page(database, status="ready") == ["trn_2", "trn_0"]
        assert await self.page(database, model_id="m") == ["trn_3", "trn_1", "trn_0"]
        assert await self.page(database, status="ready", model_id="m") == ["trn_0"]
        assert await self.page(database, status="ready", model_id="n", before="trn_2") == []

    async def test_another_tenants_never_show(self, database: Database) -> None:
        await self.filled(database)
        assert await self.page(database, "ten_b") == ["trn_b"]
        assert await self.page(database, "ten_b", model_id="n") == []
        assert await self.page(database, "ten_nobody") == []


class TestPullIn:
    async def test_nothing_stays_due_later_than_asked_and_nothing_sooner_is_moved(self, database: Database) -> None:
        await store(
            database,
            a_tenant(),
            a_training("trn_late", due_at=NOW + 60 * MINUTE, fence=4),
            a_training("trn_on_time", due_at=NOW + 5 * MINUTE),
            a_training("trn_soon", due_at=NOW + MINUTE),
            a_training("trn_suspended", suspended=True, due_at=None),
            a_training("trn_ended", status=Status.READY),
        )
        moved = await database.transaction(lambda unit: unit.trainings.pull_in(latest=NOW + 5 * MINUTE))
        assert moved == 1
        assert {row.id: (row.due_at, row.fence) for row in await stored(database, Training)} == {
            "trn_late": (NOW + 5 * MINUTE, 4),
            "trn_on_time": (NOW + 5 * MINUTE, 0),
            "trn_soon": (NOW + MINUTE, 0),
            "trn_suspended": (None, 0),
            "trn_ended": (None, 0),
        }


class TestResumeSuspended:
    async def test_what_the_tenant_has_suspended_is_polled_at_once_with_a_clean_slate(self, database: Database) -> None:
        suspended = a_training("trn_1", suspended=True, due_at=None, fence=4)
        suspended.key_refused_count = 3
        await store(database, a_tenant(), suspended)
        await database.transaction(lambda unit: unit.trainings.resume_suspended("ten_a", now=NOW))
        row = await stored_one(database, Training)
        assert (row.suspended, row.key_refused_count, row.due_at) == (False, 0, NOW)
        claimed = await database.transaction(lambda unit: unit.trainings.claim_due(now=NOW, lease_for=LEASE, limit=9))
        assert [due.id for due in claimed] == ["trn_1"]
        assert claimed[0].fence > 4

    async def test_nothing_else_is_touched(self, database: Database) -> None:
        ended = a_training("trn_ended", status=Status.CANCELLED, suspended=True)
        watched = a_training("trn_watched", due_at=NOW + MINUTE)
        watched.key_refused_count = 2
        await store(
            database,
            a_tenant("ten_a"),
            a_tenant("ten_b"),
            ended,
            watched,
            a_training("trn_foreign", tenant="ten_b", suspended=True, due_at=None),
        )
        before = await stored(database, Training)
        await database.transaction(lambda unit: unit.trainings.resume_suspended("ten_a", now=NOW))
        assert await stored(database, Training) == before


class TestCallbacks:
    async def put(self, database: Database, callback: Callback) -> None:
        await database.transaction(lambda unit: unit.trainings.put_callback(callback))

    async def test_a_new_url_is_added(self, database: Database) -> None:
        await store(database, a_tenant(), a_training(), a_callback("cbk_1", url="https://a.example/"))
        await self.put(database, a_callback("cbk_2", url="https://b.example/", sealed_secret=b"b"))
        assert [(row.id, row.url, row.sealed_secret) for row in await stored(database, Callback)] == [
            ("cbk_1", "https://a.example/", None),
            ("cbk_2", "https://b.example/", b"b"),
        ]

    async def test_the_same_url_replaces_what_is_heard_and_signed_with_and_keeps_its_id(
        self, database: Database
    ) -> None:
        await store(
            database,
            a_tenant(),
            a_training(),
            a_callback("cbk_1", url="https://a.example/", events=[EventType.READY], sealed_secret=b"old"),
        )
        await self.put(
            database,
            a_callback("cbk_2", url="https://a.example/", events=[EventType.DELETED], sealed_secret=b"new"),
        )
        row = await stored_one(database, Callback)
        assert (row.id, row.events, row.sealed_secret) == ("cbk_1", ["training.deleted"], b"new")

    async def test_the_same_url_hears_again_after_a_410(self, database: Database) -> None:
        await store(database, a_tenant(), a_training(), a_callback("cbk_1", url="https://a.example/", ended_at=NOW))
        await self.put(database, a_callback("cbk_2", url="https://a.example/"))
        assert (await stored_one(database, Callback)).ended_at is None

    async def test_the_same_url_of_another_training_is_left_alone(self, database: Database) -> None:
        await store(
            database,
            a_tenant(),
            a_training("trn_1"),
            a_training("trn_2"),
            a_callback("cbk_1", training="trn_1", url="https://a.example/", sealed_secret=b"one"),
            a_callback("cbk_2", training="trn_2", url="https://a.example/", sealed_secret=b"two"),
        )
        await self.put(
            database, a_callback("cbk_3", training="trn_2", url="https://a.example/", sealed_secret=b"three")
        )
        assert [(row.id, row.sealed_secret) for row in await stored(database, Callback)] == [
            ("cbk_1", b"one"),
            ("cbk_2", b"three"),
        ]

    async def test_they_are_listed_for_each_training_oldest_first(self, database: Database) -> None:
        await store(
            database,
            a_tenant(),
            a_training("trn_1"),
            a_training("trn_2"),
            a_training("trn_3"),
            a_callback("cbk_3", training="trn_1"),
            a_callback("cbk_1", training="trn_1"),
            a_callback("cbk_2", training="trn_2"),
            a_callback("cbk_4", training="trn_3"),
        )
        listed = await database.read(lambda unit: unit.trainings.callbacks(["trn_1", "trn_2", "trn_absent"]))
        assert {key: [callback.id for callback in found] for key, found in listed.items()} == {
            "trn_1": ["cbk_1", "cbk_3"],
            "trn_2": ["cbk_2"],
            "trn_absent": [],
        }


async def test_a_status_comes_back_as_the_word_that_it_is(database: Database) -> None:
    await store(database, a_tenant(), *(a_training(f"trn_{status}", status=status) for status in Status))
    assert {row.id.removeprefix("trn_"): row.status for row in await stored(database, Training)} == {
        word: word
        for word in (
            "queued",
            "submitting",
            "training",
            "ready",
            "deleted",
            "rejected",
            "failed",
            "expired",
            "cancelled",
        )
    }
