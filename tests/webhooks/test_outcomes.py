"""What becomes of a delivery: every status class, every form of Retry-After, every way not to be answered."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.backoff import parse_retry_after
from service.domain.delivery import AttemptOutcome, Decision, DeliveryStatus, ErrorClass, after
from service.storage.tables import Attempt, Delivery, WebhookEndpoint
from tests.support.gateway import NOW, Gateway, World, settings_of
from tests.webhooks.ready_events import becomes_ready, subscribe

PENDING, DELIVERED, DEAD = DeliveryStatus.PENDING, DeliveryStatus.DELIVERED, DeliveryStatus.DEAD
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

# The second step, and what the jitter may add.
STEP = 1000.0
USUAL = (STEP, STEP * 1.2)
# Some of each class; each status by itself: tests/domain/test_delivery.py.
STATUSES = [200, 204, 301, 304, 400, 404, 410, 425, 429, 500, 502, 503, 504, 599]


def in_seconds(least: float, most: float | None = None) -> tuple[float, float]:
    return least, least if most is None else most


# What is asked, and how long after the attempt the next one is; None: whenever the clock shows the time that was asked.
RETRY_AFTER: list[tuple[str | None, tuple[float, float] | None]] = [
    (None, USUAL),
    ("0", USUAL),
    ("999", USUAL),
    ("1500", in_seconds(1500)),
    ("86400", in_seconds(86_400)),
    ("86401", in_seconds(86_400)),
    ("99999999999999999999", in_seconds(86_400)),
    ("Sun, 22 Nov 2026 15:00:00 GMT", None),
    ("Sunday, 22-Nov-26 15:00:00 GMT", None),
    ("Sun Nov 22 15:00:00 2026", None),
    ("Wed, 25 Nov 2026 12:00:00 GMT", in_seconds(86_400)),
    ("Sun, 22 Nov 2026 11:00:00 GMT", USUAL),
    ("Thu, 01 Jan 1970 00:00:00 GMT", USUAL),
    ("soon", USUAL),
    ("-1", USUAL),
    ("1.5e3", USUAL),
    ("", USUAL),
]
ASKED_FOR = datetime.fromisoformat("2026-11-22T15:00:00+00:00")


async def queue(gateway: Gateway, url: str, *, name: str) -> None:
    components = gateway.components
    endpoint = await subscribe(components.database, components.keyring, url, name=name)
    await components.database.transaction(
        lambda unit: becomes_ready(unit, endpoint, gateway.clock.now(), random.Random(name))
    )


async def first_attempts(gateway: Gateway, count: int) -> None:
    """Hosts may have to rest in between."""
    for _ in range(20):
        await gateway.deliver()
        if await gateway.count(Attempt) == count:
            return
        gateway.advance(30)
    raise AssertionError("not all was attempted")


async def outcomes(gateway: Gateway) -> dict[str, tuple[Delivery, Attempt, WebhookEndpoint]]:
    """By the name of the endpoint."""
    attempts = {row.delivery_id: row for row in await gateway.rows(Attempt)}
    endpoints = {row.id: row for row in await gateway.rows(WebhookEndpoint)}
    rows = await gateway.rows(Delivery)
    return {
        str(row.endpoint_id).removeprefix("whe_"): (row, attempts[row.id], endpoints[str(row.endpoint_id)])
        for row in rows
    }


def waits(delivery: Delivery, attempt: Attempt) -> float:
    assert delivery.due_at is not None
    return (delivery.due_at - attempt.started_at).total_seconds()


@pytest.mark.parametrize(("asked", "wait"), RETRY_AFTER, ids=lambda value: repr(value)[:40])
async def test_every_status_with_every_form_of_retry_after(
    world: World, asked: str | None, wait: tuple[float, float] | None
) -> None:
    headers = {} if asked is None else {"Retry-After": asked}
    async with world.gateway(GATEWAY_RETRY_SCHEDULE=f"0,{STEP}") as gateway:
        for status in STATUSES:
            await world.receiver.fault("status", name=str(status), status=status, headers=headers)
            await queue(gateway, world.receiver.hook(str(status)), name=str(status))
        await first_attempts(gateway, len(STATUSES))
        for name, (delivery, attempt, endpoint) in (await outcomes(gateway)).items():
            assert attempt.status_code == int(name)
            assert (endpoint.status, endpoint.disabled_reason) == (
                ("disabled", "gone") if name == "410" else ("active", None)
            )
            if name.startswith("2"):
                assert (delivery.status, delivery.due_at, attempt.error_class) == (DELIVERED, None, None)
                continue
            assert attempt.error_class == f"http_{name[0]}xx"
            if name == "410":
                assert (delivery.status, delivery.due_at) == (DEAD, None)
                continue
            assert delivery.status == PENDING
            if wait is None:
                assert delivery.due_at == ASKED_FOR
            else:
                assert wait[0] <= waits(delivery, attempt) <= wait[1]


@asynccontextmanager
async def gibberish() -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/hook"


async def test_every_way_not_to_be_answered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    find = socket.getaddrinfo

    def find_but_one(host: Any, *arguments: Any, **options: Any) -> Any:
        if host in ("nowhere.example", b"nowhere.example"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return find(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", find_but_one)
    await world.receiver.fault("reset", name="reset")
    await world.receiver.fault("hang", name="timeout", seconds=60)
    async with (
        gibberish() as url,
        world.gateway(GATEWAY_RETRY_SCHEDULE=f"0,{STEP}", GATEWAY_ATTEMPT_TIMEOUT=0.5) as gateway,
    ):
        targets = {
            "dns": "https://nowhere.example/hook",
            "refused": "http://127.0.0.1:1/hook",
            "reset": world.receiver.hook("reset"),
            "tls": world.receiver.hook().replace("http://", "https://"),
            "timeout": world.receiver.hook("timeout"),
            "protocol": url,
        }
        for name, target in targets.items():
            await queue(gateway, target, name=name)
        await first_attempts(gateway, len(targets))
        seen = await outcomes(gateway)
        assert {name: attempt.error_class for name, (_, attempt, _) in seen.items()} == {name: name for name in targets}
        for delivery, attempt, endpoint in seen.values():
            assert (delivery.status, attempt.status_code, endpoint.status) == (PENDING, None, "active")
            assert endpoint.failing_since == gateway.clock.now()
            assert USUAL[0] <= waits(delivery, attempt) <= USUAL[1]


# --- the whole life of a delivery, by the default schedule ---

SCHEDULE = settings_of().schedule
ASKED = st.none() | st.sampled_from([text for text, _ in RETRY_AFTER]) | st.integers(0, 10**7).map(str)
FAILURES = st.sampled_from([status for status in STATUSES if status >= 300 and status != 410]) | st.none()


def outcome_of(status: int | None, asked: str | None, now: datetime) -> AttemptOutcome:
    if status is None:
        return AttemptOutcome(None, ErrorClass.TIMEOUT, timedelta(seconds=15))
    error_class = ErrorClass.of_status(status)
    return AttemptOutcome(status, error_class, timedelta(0), retry_after=parse_retry_after(asked, now))


@settings(deadline=None)
@given(
    answers=st.lists(st.tuples(FAILURES, ASKED), min_size=10, max_size=10),
    jitters=st.lists(st.floats(0, 1), min_size=10, max_size=10),
)
def test_no_attempt_is_earlier_than_asked_and_the_last_outlives_three_days(
    answers: Sequence[tuple[int | None, str | None]], jitters: Sequence[float]
) -> None:
    now = NOW
    for made, ((status, asked), jitter) in enumerate(zip(answers, jitters, strict=True), start=1):
        outcome = outcome_of(status, asked, now)
        decision = after(outcome, made, SCHEDULE, jitter)
        if made == 10:
            assert decision == Decision(DEAD)
            assert now - NOW >= 72 * HOUR
            return
        assert decision.status is PENDING
        assert decision.retry_in is not None
        assert decision.retry_in >= SCHEDULE[made]
        assert decision.retry_in >= min(outcome.retry_after or timedelta(0), DAY)
        assert decision.retry_in <= max(SCHEDULE[made] * 1.2, min(outcome.retry_after or timedelta(0), DAY))
        now += decision.retry_in
