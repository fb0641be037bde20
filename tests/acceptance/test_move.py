"""One process per SQLite file; and its data moved to PostgreSQL by a command that is killed in the middle and repeated.

A gateway on the target goes on where the one on the file ended: polls, events and signatures.
"""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from service.environment import environment_without_settings
from service.storage.move import moved_tables
from tests.acceptance.load import say
from tests.acceptance.stack import KEY, Stack, assert_one_event_each
from tests.acceptance.test_command_line import run
from tests.acceptance.test_overdue_restart import store_overdue

_KILLS = 3
# Of those that are moved, as many are watched; the others ended long ago, and so did their deliveries.
_WATCHED = 400
_PATIENCE = 120.0


def test_a_second_process_on_the_same_file_is_refused_and_the_first_goes_on(stack: Stack) -> None:
    stack.start_gateway()
    stack.share_secret()
    for command in ("serve", "migrate"):
        done = run(
            command,
            folder=stack.folder,
            DATABASE_URL=f"sqlite:///{stack.database}",
            GATEWAY_PORT="0",
            GATEWAY_HEALTH_PORT="0",
        )
        assert done.returncode == 1, done.stderr
        [line] = done.stderr.strip().splitlines()
        assert f"gateway.db is in use by `photogpt-webhooks serve` (process {stack.gateway.process.pid})" in line
    stack.train(stack.models(1)[0])
    stack.wait_for_events(1)

    stack.kill_gateway()
    stack.start_gateway()
    assert stack.is_ready()


def move(stack: Stack, target: str, *more: str) -> subprocess.CompletedProcess[str]:
    source = f"sqlite:///{stack.database}"
    return run("move", "--from", source, "--to", target, *more, folder=stack.folder)


def test_a_running_gateway_a_missing_file_and_a_target_that_is_not_there_are_one_clear_line(
    stack: Stack, postgres_database_url: str
) -> None:
    def told(done: subprocess.CompletedProcess[str], code: int) -> str:
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        [line] = done.stderr.strip().splitlines()
        return line

    stack.start_gateway()
    assert "is in use by `photogpt-webhooks serve`" in told(move(stack, postgres_database_url), 1)
    assert stack.gateway.end() == 0

    refused = told(move(stack, "postgresql://somebody:pa55word@127.0.0.1:9/x"), 1)
    assert "The target can't be used: " in refused
    assert "pa55word" not in refused
    absent = urlsplit(postgres_database_url)._replace(path="/absent").geturl()
    assert 'database "absent" does not exist' in told(move(stack, absent), 1)
    assert "nothing to take back" in told(move(stack, postgres_database_url, "--back"), 2)

    with closing(sqlite3.connect(stack.folder / "other.db")) as other:
        other.execute("CREATE TABLE something (x)")
    source = ["move", "--from", f"sqlite:///{stack.folder / 'other.db'}", "--to", postgres_database_url]
    assert "is not a gateway's database" in told(run(*source, folder=stack.folder), 2)
    for arguments, wrong in (
        (["--from", "sqlite:///absent.db", "--to", postgres_database_url], "there is no file"),
        (["--from", f"sqlite:///{stack.database}"], "must begin with postgresql://"),
        (["--from", "postgresql://x", "--to", "postgresql://y"], "must begin with sqlite:///"),
        (["--from", f"sqlite:///{stack.database}", "--to", "postgresql://y", "--force"], "goes with --back only"),
    ):
        done = run("move", *arguments, folder=stack.folder)
        assert done.returncode == 2
        assert wrong in done.stderr
    # Nothing of all this has touched the source.
    stack.start_gateway()
    assert stack.is_ready()


@pytest.mark.timeout(1800)
async def test_killed_in_the_middle_and_repeated_it_loses_and_doubles_nothing(
    stack: Stack, postgres_database_url: str, campaign: pytest.Config
) -> None:
    count, target = campaign.getoption("--moved"), postgres_database_url
    stack.start_gateway()
    stack.share_secret()
    ended = [stack.train(model) for model in stack.models(10, "ended")]
    stack.wait_for_events(len(ended))
    running = [stack.train(model) for model in stack.models(10, "running", duration_minutes=1_000_000)]
    endpoint = stack.api.post("/v1/webhook-endpoints", json={"url": stack.hook + "/endpoint"}).raise_for_status().json()
    assert stack.gateway.end() == 0
    store_overdue(stack.database, stack.models(min(count, _WATCHED), "watched", status="ready"))
    store_ended(stack.database, count - _WATCHED)
    before = sqlite_rows(stack.database)

    began_at = time.monotonic()
    await killed_before(stack, target, "events")
    refused(stack, f"sqlite:///{stack.database}", "being moved to")
    refused(stack, target, "is not complete")
    kills = 1 + sum([await killed_after_a_batch(stack, target) for _ in range(_KILLS - 1)])
    done = move(stack, target)
    assert done.returncode == 0, done.stderr
    took = time.monotonic() - began_at
    key_file = stack.database.with_name(f"{stack.database.name}.master-key")
    assert f"GATEWAY_MASTER_KEY_FILE={key_file}" in done.stdout
    assert key_file.read_text().strip() not in done.stdout + done.stderr
    assert await postgres_rows(target) == before
    refused(stack, f"sqlite:///{stack.database}", "was moved to")

    stack.sink.put("/_control/secrets", json={"endpoint": endpoint["secret"]})
    stack.start_gateway(DATABASE_URL=target, GATEWAY_MASTER_KEY_FILE=str(key_file), GATEWAY_DELIVERIES_PER_HOST="64")
    for training in running:
        model = stack.upstream.put(f"/_control/models/{training['model_id']}", json={"key": KEY, "status": "ready"})
        model.raise_for_status()
    await everything_ends(target, count + len(ended) + len(running))
    received = stack.received()
    assert_one_event_each((one for one in received if one["name"] == "default"), ended + running, "ready")
    watched = {one["event"]["data"]["id"]: one["verified"] for one in received if one["name"] == "endpoint"}
    assert list(watched.values()) == [True] * (min(count, _WATCHED) + len(running))
    assert set(stack.triggers().values()) == {1}
    assert "A gateway has worked on the target" in move(stack, target, "--back").stderr
    say(f"{count} trainings moved, {kills} times killed, {took:.1f} s in all")


def store_ended(path: Path, count: int) -> None:
    """Trainings that were ready yesterday, with an event, a callback and its delivery each."""
    then = (datetime.now(UTC) - timedelta(days=1)).replace(tzinfo=None).isoformat(" ")
    numbered = f"WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {count}) "
    filled = {
        "trainings": "(id, tenant_id, model_id, status, left_baseline, overdue, suspended, not_found_count, "
        "key_refused_count, readings, expiring, caller_metadata, sequence, fence, created_at, finished_at) SELECT "
        "'trn_e' || n, 'ten_own', 'ended-' || n, 'ready', 1, 0, 0, 0, 0, 1, 0, '{\"n\": ' || n || '}', 1, 1, ?1, ?1",
        "callbacks": "(id, tenant_id, training_id, url, events, created_at) SELECT 'cbk_e' || n, 'ten_own', "
        "'trn_e' || n, 'https://receiver.example/' || n, '[\"training.ready\"]', ?1",
        "events": "(id, tenant_id, training_id, type, sequence, position, terminal, body, created_at) SELECT "
        "'evt_e' || n, 'ten_own', 'trn_e' || n, 'training.ready', 1, 1000000 + n, 1, CAST(n AS BLOB), ?1",
        "deliveries": "(id, tenant_id, event_id, training_id, callback_id, event_type, sequence, host, status, "
        "attempts_made, attempts_started, created_at, finished_at, give_up_at, fence) SELECT 'dlv_e' || n, 'ten_own', "
        "'evt_e' || n, 'trn_e' || n, 'cbk_e' || n, 'training.ready', 1, 'receiver.example:443', 'delivered', 1, 1, "
        "?1, ?1, ?1, 1",
    }
    with closing(sqlite3.connect(path)) as connection, connection:
        for table, rows in filled.items() if count > 0 else ():
            columns, _, values = rows.partition(" SELECT ")
            connection.execute(f"INSERT INTO {table} {columns} {numbered} SELECT {values} FROM series", (then,))
        connection.execute("UPDATE tenants SET event_position = 2000000")


def refused(stack: Stack, url: str, why: str) -> None:
    """A gateway on this database, whose every setting is right."""
    key = stack.database.with_name(f"{stack.database.name}.master-key")
    ports = {"GATEWAY_PORT": "0", "GATEWAY_HEALTH_PORT": "0"}
    done = run("serve", folder=stack.folder, DATABASE_URL=url, GATEWAY_MASTER_KEY_FILE=str(key), **ports)
    assert done.returncode == 2, done.stderr
    assert why in done.stderr.strip().splitlines()[-1]


def started(stack: Stack, target: str) -> subprocess.Popen[str]:
    """A move under way."""
    return subprocess.Popen(
        [sys.executable, "-m", "service", "move", "--from", f"sqlite:///{stack.database}", "--to", target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=stack.folder,
        env=environment_without_settings(),
    )


async def killed_before(stack: Stack, target: str, table: str) -> None:
    """A move that dies when the first rows of `table` are to be stored, which a lock holds up."""
    done = run("migrate", folder=stack.folder, DATABASE_URL=target)
    assert done.returncode == 0, done.stderr
    connection = await asyncpg.connect(target)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(f"LOCK TABLE {table} IN SHARE MODE")
        with started(stack, target) as process:
            deadline = time.monotonic() + _PATIENCE
            while not await connection.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::regclass", table
            ):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.kill()
        await transaction.rollback()
    finally:
        await connection.close()


async def killed_after_a_batch(stack: Stack, target: str) -> bool:
    """A move that dies at some moment after it has got on; False if it was through before."""
    connection = await asyncpg.connect(target)
    try:
        batches = "SELECT batches FROM moves"
        there = await connection.fetchval(batches)
        with started(stack, target) as process:
            while process.poll() is None and await connection.fetchval(batches) == there:
                time.sleep(0.005)
            process.kill()
            process.communicate()
        return process.returncode != 0
    finally:
        await connection.close()


def sqlite_rows(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        found = {
            table.name: connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]
            for table in moved_tables()
        }
        trainings = connection.execute("SELECT id, model_id, status FROM trainings").fetchall()
    return {**found, "what is in trainings": hash(frozenset(trainings))}


async def postgres_rows(url: str) -> dict[str, int]:
    connection: Any = await asyncpg.connect(url)
    try:
        found = {
            table.name: await connection.fetchval(f"SELECT count(*) FROM {table.name}") for table in moved_tables()
        }
        trainings = await connection.fetch("SELECT id, model_id, status FROM trainings")
    finally:
        await connection.close()
    return {**found, "what is in trainings": hash(frozenset(tuple(row) for row in trainings))}


async def everything_ends(url: str, trainings: int) -> None:
    """Each with exactly one event, and that one delivered to whoever was to hear of it."""
    connection: Any = await asyncpg.connect(url)
    deadline = time.monotonic() + _PATIENCE + trainings / 50
    try:
        while await connection.fetchval("SELECT count(*) FROM trainings WHERE status <> 'ready'"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        while await connection.fetchval("SELECT count(*) FROM deliveries WHERE status <> 'delivered'"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        of_each = "SELECT count(*) FROM events WHERE terminal GROUP BY training_id"
        assert [row[0] for row in await connection.fetch(of_each)] == [1] * trainings
    finally:
        await connection.close()
