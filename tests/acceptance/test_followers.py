"""Readers that follow the events of a gateway which is killed again and again: none is missed, none told twice."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from tests.acceptance.history import rows, wait_for_the_end
from tests.acceptance.load import Load, say, share_secret
from tests.acceptance.stack import Stack
from tests.support.waiting import wait_until_sync

# So few that a gateway that lives for a second gets through with them.
_RATE = 3
_PAUSE = 0.02
# So small that what piles up during a restart takes several pages.
_PAGE = 3
# A connection on which nothing comes for so long is dead: the gateway pings every 15 s.
_SILENCE = 25.0


class Reader:
    """Reads in a thread of its own, after the last cursor that it was told; begins anew where a gateway dies on it.

    `seen`: the ids of the events, as they came. `broken`: how often it lost its gateway.
    """

    def __init__(self, stack: Stack, read: Callable[[httpx.Client, str], Iterator[tuple[str, str | None]]]) -> None:
        self.seen: list[str] = []
        self.broken = 0
        self._stack = stack
        self._read = read
        # The beginning has a cursor, too.
        self._cursor: str = stack.api.get("/v1/events").json()["next_cursor"]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_PAUSE):
            address = self._stack.address
            if address is None:
                continue
            try:
                with httpx.Client(base_url=address, timeout=_SILENCE) as client:
                    for cursor, event_id in self._read(client, self._cursor):
                        self._cursor = cursor
                        self.seen += [event_id] if event_id else []
                        if self._stopping.is_set():
                            return
            except httpx.TransportError:
                self.broken += 1


def pages(client: httpx.Client, cursor: str) -> Iterator[tuple[str, str | None]]:
    """One page after the other; the cursor counts once the whole page was told."""
    while True:
        answer = client.get("/v1/events", params={"after": cursor, "limit": _PAGE}).raise_for_status().json()
        *earlier, last = [event["id"] for event in answer["data"]] or [None]
        yield from ((cursor, event_id) for event_id in earlier)
        cursor = answer["next_cursor"]
        yield cursor, last
        if not answer["has_more"]:
            time.sleep(_PAUSE)


def stream(client: httpx.Client, cursor: str) -> Iterator[tuple[str, str | None]]:
    """Server-sent events as the gateway writes them: each ends with an empty line, and counts only then."""
    with client.stream("GET", "/v1/events/stream", headers={"Last-Event-ID": cursor}) as answer:
        answer.raise_for_status()
        rest = ""
        for text in answer.iter_text():
            *blocks, rest = (rest + text).split("\n\n")
            for block in blocks:
                fields: dict[str, Any] = dict(line.split(": ", 1) for line in block.split("\n"))
                cursor = fields.get("id", cursor)
                yield cursor, json.loads(fields["data"])["id"] if "data" in fields else None


@pytest.mark.timeout(7200)
def test_a_reader_of_pages_and_one_of_the_stream_see_every_event_once_and_in_order(
    stack: Stack, campaign: pytest.Config, campaign_random: random.Random
) -> None:
    restarts = campaign.getoption("--restarts")
    share_secret(stack)
    stack.start_gateway()
    with Reader(stack, pages) as of_pages, Reader(stack, stream) as of_stream:
        with Load(stack, rate=_RATE) as load:
            for _ in range(restarts):
                wait_for_more(load, of_stream)
                time.sleep(campaign_random.uniform(0, 1))
                stack.kill_gateway()
                stack.start_gateway()
        wait_for_the_end(stack)
        expected = [event["id"] for event in rows(stack.database, "SELECT id FROM events ORDER BY position")]
        wait_until_sync(
            lambda: min(len(of_pages.seen), len(of_stream.seen)) >= len(expected),
            what="the readers to have all",
            timeout=30,
        )
        # One that was told too much has that by now: both end with the gateway.
        stack.address = None
        assert stack.gateway.end() == 0

    assert of_pages.seen == expected
    assert of_stream.seen == expected
    assert len(expected) >= len(load.acknowledged) > restarts, "hardly any load"
    assert of_stream.broken >= restarts, "the stream was not cut by every kill"
    say(
        f"{restarts} restarts: {len(expected)} events, each told once and in order; "
        f"{of_pages.broken} reads of pages and {of_stream.broken} streams were cut"
    )


def wait_for_more(load: Load, reader: Reader) -> None:
    """So that each gateway does some work, and each kill cuts a stream on which something came."""
    acknowledged, seen = len(load.acknowledged), len(reader.seen)
    wait_until_sync(
        lambda: len(load.acknowledged) > acknowledged and len(reader.seen) > seen,
        what="one more training and one more event",
        timeout=60,
    )
