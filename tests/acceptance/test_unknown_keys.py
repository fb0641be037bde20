"""Thousands of keys that nobody knows come at once: PhotoGPT is asked about a few, nothing is stored, and who is known
notices nothing.
"""

import asyncio
import base64
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import aiohttp
import httpx
import pytest

from tests.acceptance.forked import ForkedChildren
from tests.acceptance.load import say
from tests.acceptance.stack import KEY, Stack

CHECKS_PER_SECOND, BURST = 5, 5
_AT_ONCE = 64
_MEGABYTES = 40.0
_TIMES = pytest.mark.timeout(600)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A gateway for many, before a PhotoGPT that knows one key."""
    with ForkedChildren(tmp_path) as children:
        stack = Stack(
            children,
            keys=[KEY],
            GATEWAY_MODE="gateway",
            GATEWAY_HOST="127.0.0.1",
            GATEWAY_MASTER_KEY=base64.b64encode(sha256(b"unknown keys").digest()).decode(),
        )
        stack.start_gateway(PHOTOGPT_API_KEY=None)
        yield stack
        stack.close()


class Known:
    """One whom the gateway knows, who goes on as ever from entry to exit."""

    def __init__(self, stack: Stack, models: int) -> None:
        self._api = httpx.Client(base_url=str(stack.address), headers={"authorization": f"Bearer {KEY}"}, timeout=30)
        self._models = stack.models(models)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on)
        self.answers: Counter[tuple[str, int]] = Counter()
        self.slowest = 0.0

    @contextmanager
    def going_on(self) -> Iterator[None]:
        self._once("train", "POST", "/v1/trainings", json={"model_id": self._models.pop()})
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()
            self._api.close()

    def _go_on(self) -> None:
        while not self._ended.wait(0.1) and self._models:
            self._once("train", "POST", "/v1/trainings", json={"model_id": self._models.pop()})
            self._once("list", "GET", "/v1/trainings")
            self._once("account", "GET", "/v1/account")

    def _once(self, name: str, method: str, path: str, **request: object) -> None:
        began = time.monotonic()
        answer = self._api.request(method, path, **request)  # type: ignore[arg-type]  # `json` alone
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.answers[name, answer.status_code] += 1


async def flood(url: str, keys: int) -> Counter[tuple[str, int]]:
    """Each key once, in turn by whatever way might make the gateway store, send, ask or hold something."""
    answers: Counter[tuple[str, int]] = Counter()
    ways: list[tuple[str, str, dict[str, object] | None]] = [
        ("POST", "/v1/trainings", {"model_id": "a-model"}),
        ("POST", "/v1/webhook-endpoints", {"url": "https://example.com/"}),
        ("GET", "/v1/signing-secret", None),
        ("GET", "/v1/events/stream", None),
        ("POST", "/v1/webhook-endpoints/test", {"url": "https://example.com/"}),
        ("GET", "/v1/trainings", None),
    ]
    numbers = iter(range(keys))

    async def worker(http: aiohttp.ClientSession) -> None:
        for number in numbers:
            method, path, body = ways[number % len(ways)]
            headers = {"authorization": f"Bearer pgpt-nobodys-key-{number:06}"}
            async with http.request(method, url + path, headers=headers, json=body) as answer:
                await answer.read()
            answers[path, answer.status] += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_AT_ONCE)) as http:
        await asyncio.gather(*(worker(http) for _ in range(_AT_ONCE)))
    return answers


def megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def rows(database: Path, table: str) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@_TIMES
def test_keys_that_nobody_knows_cost_little_and_disturb_nobody(stack: Stack, campaign: pytest.Config) -> None:
    keys = int(campaign.getoption("--unknown-keys"))
    known = Known(stack, models=2000)
    with known.going_on():
        asyncio.run(flood(str(stack.address), 50))  # what is made once, however many come
        before, began = megabytes(stack.gateway.process.pid), time.monotonic()
        checks_before = len(_checks(stack))
        answers = asyncio.run(flood(str(stack.address), keys))
        took, grown = time.monotonic() - began, megabytes(stack.gateway.process.pid) - before
    checks = len(_checks(stack)) - checks_before
    refused = sum(count for (_, status), count in answers.items() if status == 401)
    turned_away = sum(count for (_, status), count in answers.items() if status == 429)
    say(
        f"{keys} unknown keys in {took:.1f} s: {checks} checks at PhotoGPT, {refused} refused, {turned_away} turned "
        f"away, {grown:+.1f} MB; the known one had {sum(known.answers.values())} answers, the slowest in "
        f"{known.slowest * 1000:.0f} ms"
    )
    assert checks <= CHECKS_PER_SECOND * took + BURST
    assert {status for path, status in answers if path != "/v1/trainings"} <= {401, 429}
    assert answers["/v1/trainings", 200] == keys // 6, "reading asks nobody"
    assert sum(answers.values()) == keys
    assert (rows(stack.database, "tenants"), rows(stack.database, "webhook_endpoints")) == (1, 0)
    assert rows(stack.database, "trainings") == known.answers["train", 202]
    assert grown < _MEGABYTES
    assert {status for _, status in known.answers} == {200, 202}, known.answers
    assert known.answers["train", 202] > 1


def _checks(stack: Stack) -> list[str]:
    """What PhotoGPT was asked with unknown keys."""
    return [call["path"] for call in stack.calls(".*") if call["key"] != KEY]
