"""The keyset: made once, agreed on by all who start at once, sealed anew without a change of what it is; and an upgrade
from a release that had none.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import random
from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, text

from service.domain.errors import ConfigurationError
from service.domain.secret import Secret
from service.keyring import Keyring
from service.storage import migrations
from service.storage.database import Database
from service.storage.installation import Keyset
from service.storage.migrations import migrate, newest_revision
from service.vault import Vault
from tests.support.clock import FakeClock
from tests.support.rows import a_tenant, store, stored, stored_one

CLOCK = FakeClock()
OLD, NEW, OTHER = (base64.b64encode(hashlib.sha256(name).digest()).decode() for name in (b"old", b"new", b"other"))
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def keyring(master_key: str = OLD, previous: str | None = None, seed: int = 1) -> tuple[Keyring, Vault]:
    rng = random.Random(seed)
    vault = Vault(master_key, rng, previous)
    return Keyring(vault, rng), vault


async def unlocked(
    database: Database, master_key: str = OLD, previous: str | None = None, seed: int = 1
) -> tuple[Keyring, Vault]:
    ring, vault = keyring(master_key, previous, seed)
    await ring.unlock(database, CLOCK)
    return ring, vault


async def test_the_first_start_makes_one_and_the_next_opens_it(database: Database) -> None:
    ring, vault = await unlocked(database)
    sealed = ring.seal_secret("ten_1", SECRET)
    row = await stored_one(database, Keyset)
    assert (row.id, row.created_at, row.sealed_at) == (1, CLOCK.now(), CLOCK.now())
    again, same = await unlocked(database, seed=2)
    assert again.open_secret("ten_1", sealed) == Secret(SECRET)
    assert (same.public_key, same.fingerprint("x")) == (vault.public_key, vault.fingerprint("x"))
    assert (await stored_one(database, Keyset)).sealed == row.sealed


async def test_replicas_that_start_at_once_agree_on_one(database: Database, database_url: str) -> None:
    databases = [Database(database_url) for _ in range(4)]
    started = await asyncio.gather(*(unlocked(one, seed=seed) for seed, one in enumerate(databases)))
    assert len({vault.public_key for _, vault in started}) == 1
    assert len({vault.fingerprint("x") for _, vault in started}) == 1
    sealed = started[0][0].seal_secret("ten_1", SECRET)
    assert {ring.open_secret("ten_1", sealed) for ring, _ in started} == {Secret(SECRET)}
    assert len(await stored(database, Keyset)) == 1
    for one in databases:
        await one.close()


async def test_a_master_key_that_is_not_the_one_refuses_the_start_and_changes_nothing(database: Database) -> None:
    await unlocked(database)
    before = await stored_one(database, Keyset)
    for previous in (None, OTHER):
        with pytest.raises(ConfigurationError, match="not the one that this database was sealed with") as refused:
            await unlocked(database, NEW, previous)
        assert len(str(refused.value).splitlines()) == 1
    assert (await stored_one(database, Keyset)).sealed == before.sealed


async def test_the_master_key_is_changed_while_gateways_run(database: Database) -> None:
    running, vault = await unlocked(database)
    sealed = running.seal_secret("ten_1", SECRET)
    # Restarted with both keys, all goes on; and `rewrap` may be run any number of times.
    both, _ = await unlocked(database, NEW, OLD, seed=2)
    assert both.open_secret("ten_1", sealed) == Secret(SECRET)
    assert await both.is_under_previous_key(database)
    assert await both.rewrap(database, CLOCK)
    assert not await both.is_under_previous_key(database)
    assert not await both.rewrap(database, CLOCK)
    # Both those that were started before, and those with the new one alone, go on.
    alone, again = await unlocked(database, NEW, seed=3)
    for opener, sealer in ((alone, running), (running, alone), (both, alone)):
        assert opener.open_secret("ten_2", sealer.seal_secret("ten_2", SECRET)) == Secret(SECRET)
    assert (again.public_key, again.fingerprint("x")) == (vault.public_key, vault.fingerprint("x"))
    assert alone.open_secret("ten_1", sealed) == Secret(SECRET)
    with pytest.raises(ConfigurationError):
        await unlocked(database, OLD)


async def test_two_that_seal_it_anew_at_once_leave_one_that_opens(database: Database, database_url: str) -> None:
    await unlocked(database)
    databases = [Database(database_url) for _ in range(3)]
    rings = [keyring(NEW, OLD, seed)[0] for seed in range(3)]
    done = await asyncio.gather(*(ring.rewrap(one, CLOCK) for ring, one in zip(rings, databases, strict=True)))
    assert done.count(True) == 1
    await unlocked(database, NEW)
    for one in databases:
        await one.close()


async def test_it_is_replaced_only_if_it_is_still_what_was_read(database: Database) -> None:
    await unlocked(database)
    before = (await stored_one(database, Keyset)).sealed
    assert not await database.transaction(lambda unit: unit.keysets.replace(b"another", b"new", CLOCK.now()))
    assert (await stored_one(database, Keyset)).sealed == before


# --- an upgrade from a release without keysets ---


def _derived(master_key: str, use: bytes) -> bytes:
    """As RFC 5869 says, and that release did."""
    extracted = hmac.digest(bytes(32), base64.b64decode(master_key), hashlib.sha256)
    return hmac.digest(extracted, b"photogpt-webhooks/" + use + b"\x01", hashlib.sha256)


def _sealed_then(plain: str, purpose: str, owner: str) -> bytes:
    nonce = random.Random(owner).randbytes(12)
    ciphertext = AESGCM(_derived(OLD, b"seal")).encrypt(nonce, plain.encode(), f"{purpose}|{owner}".encode())
    return hashlib.sha256(base64.b64decode(OLD)).digest()[:4] + nonce + ciphertext


TENANT = "ten_" + hmac.digest(_derived(OLD, b"tenant"), b"pgpt-key", hashlib.sha256).hex()[:32]


def _as_before(connection: Connection) -> None:
    migrations.upgrade(connection, "0003")
    values = {
        "id": TENANT,
        "key": _sealed_then("pgpt-key", "PhotoGPT key", TENANT),
        "secret": _sealed_then(SECRET, "signing secret", TENANT),
        "at": CLOCK.now().replace(tzinfo=None) if connection.dialect.name == "sqlite" else CLOCK.now(),
    }
    insert = "INSERT INTO tenants (id, sealed_key, sealed_signing_secret, created_at) VALUES (:id, :key, :secret, :at)"
    connection.execute(
        text(insert), {**values, "at": str(values["at"])} if "sqlite" in connection.dialect.name else values
    )


@pytest.fixture
async def before(empty_url: str) -> AsyncIterator[Database]:
    database = Database(empty_url)
    await database.migrate(_as_before)
    assert await migrate(database) == ("0003", newest_revision())
    yield database
    await database.close()


@pytest.mark.parametrize(("master_key", "previous"), [(OLD, None), (NEW, OLD)])
async def test_after_an_upgrade_all_opens_and_tenants_keep_their_ids(
    before: Database, master_key: str, previous: str | None
) -> None:
    ring, vault = await unlocked(before, master_key, previous)
    tenant = await before.read(lambda unit: unit.tenants.get(TENANT))
    assert tenant is not None
    assert tenant.sealed_key is not None
    assert vault.open(tenant.sealed_key, purpose="PhotoGPT key", owner=TENANT) == "pgpt-key"
    assert ring.open_secret(TENANT, tenant.sealed_signing_secret) == Secret(SECRET)
    assert f"ten_{vault.fingerprint('pgpt-key')}" == TENANT
    # And from then on the keyset is stored, and the master key may go.
    _, again = await unlocked(before, master_key)
    assert again.fingerprint("pgpt-key") == vault.fingerprint("pgpt-key")


async def test_an_upgrade_with_another_master_key_is_refused_and_can_be_repeated_with_the_right_one(
    before: Database,
) -> None:
    with pytest.raises(ConfigurationError, match="not the one"):
        await unlocked(before, NEW)
    assert await stored(before, Keyset) == []
    await unlocked(before, OLD)


async def test_a_database_without_tables_is_under_no_previous_key(empty_sqlite_url: str) -> None:
    database = Database(empty_sqlite_url)
    assert not await keyring()[0].is_under_previous_key(database)
    await database.close()


# --- keys that nobody needs ---


async def test_keys_without_an_active_training_are_found_in_batches(database: Database) -> None:
    for name in ("a", "b", "c"):
        await store(database, a_tenant(f"ten_{name}", sealed_key=None if name == "b" else b"key"))
    assert await database.read(lambda unit: unit.tenants.with_idle_key(9)) == ["ten_a", "ten_c"]
    assert await database.read(lambda unit: unit.tenants.with_idle_key(1)) == ["ten_a"]
