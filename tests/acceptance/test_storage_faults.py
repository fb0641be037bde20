"""A database that can't be written: full, locked, read-only. No trigger, no poll, no webhook that can't be recorded."""

import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.acceptance.disk import SmallDisk, small_disk
from tests.acceptance.history import judge_the_end
from tests.acceptance.load import say, share_secret, train_request
from tests.acceptance.stack import KEY, Stack
from tests.support.waiting import wait_until_sync

_LONG = 1_000_000
# What is hoped for is 10 s.
_LONGEST_HEALING = 30.0
# Polls and attempts that were claimed just before.
_UNDER_WAY = 8
# Longer than the fault: nobody's work is taken over while its outcome waits to be written.
_PATIENT = {"GATEWAY_LEASE": "60", "GATEWAY_UPSTREAM_TIMEOUT": "15", "GATEWAY_ATTEMPT_TIMEOUT": "15"}
_READYZ_NOTICES = 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", "8m") as disk:
        yield disk


@pytest.fixture
def disk_stack(disk: SmallDisk, stack: Stack) -> Stack:
    """Its database is on `disk`."""
    stack.begin_anew("disk")
    share_secret(stack)
    return stack


def ask(stack: Stack, model: str) -> httpx.Response:
    return stack.api.post("/v1/trainings", json=train_request(stack, model), timeout=120)


def accepted(stack: Stack, models: list[str]) -> dict[str, str]:
    answers = {model: ask(stack, model) for model in models}
    assert {answer.status_code for answer in answers.values()} == {202}
    return {model: answer.json()["id"] for model, answer in answers.items()}


def finish(stack: Stack, models: list[str]) -> None:
    for model in models:
        stack.upstream.put(f"/_control/models/{model}", json={"key": KEY, "status": "ready"}).raise_for_status()


def assert_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "storage_unavailable"
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.timeout(300)
def test_on_a_full_disk_nothing_is_done_that_cannot_be_recorded_and_it_heals(
    disk: SmallDisk, disk_stack: Stack
) -> None:
    stack = disk_stack
    stack.start_gateway(**_PATIENT, GATEWAY_RETRY_SCHEDULE=",".join(["0"] + ["1"] * 49))
    watched, failing = (
        stack.models(4, "watched", duration_minutes=_LONG),
        stack.models(4, "failing", duration_minutes=0),
    )
    # Webhooks that are due again every second, and that no copy of is a copy, since none succeeds for now.
    stack.break_receiver(kind="status", status=503, times=None)
    acknowledged = accepted(stack, watched + failing)
    wait_until_sync(lambda: len(stack.received()) >= 2 * len(failing), what="repeated attempts", timeout=30)

    disk.fill()
    wait_until_sync(lambda: stack.api.get("/readyz").status_code == 503, what="/readyz to say no", timeout=30)
    assert stack.api.get("/readyz").json()["status"] == "storage_unavailable"
    polls, webhooks = stack.call_count(r"/models/watched-\d+"), len(stack.received())
    refused = stack.models(6, "refused", duration_minutes=0)
    for model in refused:
        assert_refused(ask(stack, model))
        assert stack.api.get("/livez").status_code == 200
        assert stack.health.get("/readyz").status_code == 503
        time.sleep(0.5)
    assert stack.call_count(r"/models/refused-\d+/train") == 0
    assert stack.call_count(r"/models/watched-\d+") <= polls + _UNDER_WAY
    assert len(stack.received()) <= webhooks + _UNDER_WAY

    stack.sink.delete("/_control/faults").raise_for_status()
    disk.free()
    freed_at = time.monotonic()
    wait_until_sync(stack.is_ready, what="the gateway to heal", timeout=_LONGEST_HEALING)
    healed = time.monotonic() - freed_at
    acknowledged |= accepted(stack, refused)
    finish(stack, watched)
    figures = judge_the_end(stack, acknowledged, crashes=0)
    say(f"full disk: {figures}; healed by itself after {healed:.1f} s")


@pytest.mark.timeout(300)
def test_what_happens_while_sqlite_is_locked_is_recorded_when_it_no_longer_is(
    stack: Stack, campaign: pytest.Config
) -> None:
    seconds = campaign.getoption("--locked-seconds")
    share_secret(stack)
    stack.start_gateway(**_PATIENT)
    watched, delivering = (
        stack.models(3, "watched", duration_minutes=_LONG),
        stack.models(3, "delivering", duration_minutes=0),
    )
    [triggering, *refused] = stack.models(4, "new", duration_minutes=_LONG)
    # A trigger and attempts that are under way when the lock comes, and answered while it is there.
    stack.break_photogpt(path=f"/models/{triggering}/train", kind="delay", seconds=2)
    stack.break_receiver(kind="delay", seconds=2, times=3)
    acknowledged = accepted(stack, watched + delivering)
    with ThreadPoolExecutor(4) as callers, closing(sqlite3.connect(stack.database, isolation_level=None)) as other:
        wait_until_sync(lambda: len(stack.received()) == 3, what="attempts under way", timeout=30)
        slow = callers.submit(ask, stack, triggering)
        wait_until_sync(lambda: stack.call_count(f"/models/{triggering}/train"), what="the slow trigger")
        other.execute("BEGIN EXCLUSIVE")
        locked_at = time.monotonic()
        during = [callers.submit(ask, stack, model) for model in refused]
        unready = watch_while_locked(stack, locked_at + seconds)
        before = stack.call_count(r"/models/new-\d+/train")
        other.execute("ROLLBACK")
        unlocked_at = time.monotonic()
        wait_until_sync(stack.is_ready, what="the gateway to heal", timeout=_LONGEST_HEALING)
        healed = time.monotonic() - unlocked_at
        answers = dict(zip([triggering, *refused], (future.result() for future in [slow, *during]), strict=True))
    assert before == 1, "a trigger was sent while its intent could not be stored"
    assert answers[triggering].status_code == 202
    for model, answer in answers.items():
        if answer.status_code != 202:
            assert_refused(answer)
            assert stack.call_count(f"/models/{model}/train") == 0
    acknowledged |= {model: answer.json()["id"] for model, answer in answers.items() if answer.status_code == 202}
    if seconds >= _READYZ_NOTICES:
        assert unready
        assert any(answer.status_code == 503 for answer in answers.values())
    finish(stack, watched + list(answers))
    figures = judge_the_end(stack, acknowledged, crashes=0)
    say(f"locked for {seconds} s: {figures}; healed by itself after {healed:.1f} s")


def watch_while_locked(stack: Stack, until: float) -> bool:
    """Whether /readyz said no at times; /livez must say yes all the time."""
    unready = False
    while time.monotonic() < until:
        assert stack.api.get("/livez").status_code == 200
        unready = unready or not stack.is_ready()
        time.sleep(0.2)
    return unready


@pytest.mark.timeout(120)
def test_on_a_read_only_disk_the_gateway_ends_with_one_clear_line(disk: SmallDisk, disk_stack: Stack) -> None:
    stack = disk_stack
    stack.start_gateway()
    assert stack.gateway.end() == 0
    disk.make_read_only()
    stack.spawn_gateway()

    assert stack.end_gateway() not in (0, None)
    log = (stack.folder / f"{stack.gateway.name}.err").read_text().strip()
    # Before it stands the warning that a disk in memory does not last.
    *_, said = log.splitlines()
    assert "Traceback" not in log
    assert re.fullmatch(r"error: The database \S+/gateway\.db can't be used: [a-z ]+\.", said), log
    say(f"read-only disk: {said}")
