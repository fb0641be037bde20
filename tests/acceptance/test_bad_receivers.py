"""Receivers that answer without an end, with a bomb, or not at all, all at once, and good ones beside them.

Each has a port, and so a host, of its own. A sample for the suite; `--bad-receivers` gives the large figure.
"""

import asyncio
import gzip
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from tests.acceptance.history import rows
from tests.acceptance.load import say
from tests.acceptance.stack import Stack
from tests.support.waiting import wait_until_sync

TIMEOUT = 2.0
GOOD = 20
PER_TRAINING = 5
MEMORY = 64.0  # MB
# 10 MB in 10 kB, all of which is read: inflating it would show.
BOMB = gzip.compress(bytes(10_000_000))

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def gush(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"8000\r\n" + bytes(0x8000) + b"\r\n")
        await writer.drain()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"1\r\n.\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)


async def bomb(writer: asyncio.StreamWriter) -> None:
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(BOMB)}\r\n\r\n"
    writer.write(head.encode() + BOMB)
    await writer.drain()


async def hang(_writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def take(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    await writer.drain()


class Neighbourhood:
    """A server for each behaviour in the list, in a thread of their own; `arrived`: when each POST had come, by URL."""

    def __init__(self, behaviours: Sequence[Behaviour]) -> None:
        self.urls: list[str] = []
        self.arrived: dict[str, list[float]] = {}
        self._behaviours = behaviours
        self._ready = threading.Event()
        self._over = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="neighbourhood")

    @contextmanager
    def serving(self) -> Iterator["Neighbourhood"]:
        self._thread.start()
        assert self._ready.wait(30)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        listeners = [await self._listen(behave) for behave in self._behaviours]
        self._ready.set()
        await self._over.wait()
        for listener in listeners:
            listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self, behave: Behaviour) -> asyncio.Server:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._serve(url, behave, reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        listener = await asyncio.start_server(accept, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/hook"
        self.urls.append(url)
        return listener

    async def _serve(
        self, url: str, behave: Behaviour, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            await reader.readexactly(int(length.partition(b":")[2]))
            self.arrived.setdefault(url, []).append(time.time())
            # Who is hung up on has done its worst.
            gone = asyncio.ensure_future(reader.read(1))
            acting = asyncio.ensure_future(behave(writer))
            try:
                await asyncio.wait({gone, acting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
                acting.cancel()
                await asyncio.gather(gone, acting, return_exceptions=True)
                writer.close()


class Memory:
    """The most that a process had of its own (PSS), looked at ten times a second; in kB."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}/smaps_rollup")
        self.before = self.most = self._look()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory")

    @contextmanager
    def watched(self) -> Iterator["Memory"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.most = max(self.most, self._look())

    def _look(self) -> int:
        lines = self._path.read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1])


@pytest.mark.timeout(600)
def test_every_attempt_is_bounded_and_good_receivers_hear_at_once(stack: Stack, campaign: pytest.Config) -> None:
    each = int(campaign.getoption("--bad-receivers", default=10))
    bad: list[Behaviour] = [*(gush if number % 2 else drip for number in range(each)), *[bomb] * each, *[hang] * each]
    with Neighbourhood([*[take] * GOOD, *bad]).serving() as neighbours:
        stack.start_gateway(
            GATEWAY_POLL_INTERVAL="300", GATEWAY_ATTEMPT_TIMEOUT=f"{TIMEOUT:g}", GATEWAY_RETRY_SCHEDULE="0,0.5,0.5"
        )
        trainings = train_for(stack, neighbours.urls)
        with Memory(stack.gateway.process.pid).watched() as memory:
            ended_at = end(stack, trainings)
            wait_until_sync(lambda: not left(stack), what="the end of all deliveries", timeout=120)
        assert stack.is_ready()

    good = neighbours.urls[:GOOD]
    delays = sorted(min(neighbours.arrived[url]) - ended_at[url] for url in good)
    median, last, grown = delays[len(delays) // 2], delays[-1], (memory.most - memory.before) / 1024
    say(
        f"{each} of each bad kind: {figures(stack)}; {GOOD} good receivers heard after {median:.2f} s (median), "
        f"{last:.2f} s at most; {grown:.1f} MB more memory"
    )
    attempts = rows(stack.database, "SELECT duration_ms, status_code, error_class FROM attempts")
    assert all(attempt["duration_ms"] <= (TIMEOUT + 1) * 1000 for attempt in attempts)
    # A status is an answer, however little is read of what follows it; who says none, or goes on for ever, is too late.
    dripping = each - each // 2
    assert Counter(attempt["error_class"] for attempt in attempts) == Counter(
        {None: GOOD + 2 * each - dripping, "timeout": 3 * (each + dripping)}
    )
    assert [len(neighbours.arrived[url]) for url in good] == [1] * GOOD
    assert grown <= MEMORY


def train_for(stack: Stack, urls: Sequence[str]) -> dict[str, list[str]]:
    """Trainings that take very long, each with a few of these callbacks, good and bad ones mixed; by id."""
    mixed = list(urls)
    Random(len(urls)).shuffle(mixed)
    groups = list(batches(mixed, PER_TRAINING))
    models = stack.models(len(groups), duration_minutes=1_000_000)

    def train(model: str, group: Sequence[str]) -> str:
        asked = [{"model_id": model, "callback": {"url": url, "events": ["training.cancelled"]}} for url in group]
        answers = [stack.api.post("/v1/trainings", json=body).raise_for_status().json() for body in asked]
        return str(answers[0]["id"])

    with ThreadPoolExecutor(8) as callers:
        return dict(zip(callers.map(train, models, groups), groups, strict=True))


def end(stack: Stack, trainings: dict[str, list[str]]) -> dict[str, float]:
    """Cancel all, which every callback is to hear of; when that was, by URL."""

    def cancel(training_id: str) -> float:
        answer = stack.api.delete(f"/v1/trainings/{training_id}").raise_for_status()
        return datetime.fromisoformat(answer.json()["finished_at"]).astimezone(UTC).timestamp()

    with ThreadPoolExecutor(8) as callers:
        ended = list(callers.map(cancel, trainings))
    return {url: at for at, urls in zip(ended, trainings.values(), strict=True) for url in urls}


def left(stack: Stack) -> int:
    [row] = rows(stack.database, "SELECT count(*) AS left FROM deliveries WHERE status = 'pending'")
    return int(row["left"])


def figures(stack: Stack) -> str:
    [row] = rows(stack.database, "SELECT count(*) AS made, max(duration_ms) AS longest FROM attempts")
    return f"{row['made']} attempts, the longest {row['longest'] / 1000:.2f} s of {TIMEOUT:g} s"


def batches(items: Sequence[str], size: int) -> Iterator[list[str]]:
    for first in range(0, len(items), size):
        yield list(items[first : first + size])
