"""Chores that one replica does at a time."""

from service.storage.database import Database
from tests.storage.interleaving import commit_elsewhere, uncommitted


async def test_one_alone_is_alone(database: Database) -> None:
    for _ in range(2):
        assert await database.transaction(lambda unit: unit.alone_at("sweeping"))


async def test_another_replica_finds_it_taken_until_the_first_has_committed(postgres_url: str) -> None:
    async with uncommitted(postgres_url, lambda unit: unit.alone_at("sweeping")):
        assert not commit_elsewhere(postgres_url, lambda unit: unit.alone_at("sweeping"))
        assert commit_elsewhere(postgres_url, lambda unit: unit.alone_at("dusting"))
    assert commit_elsewhere(postgres_url, lambda unit: unit.alone_at("sweeping"))
