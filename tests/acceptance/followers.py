"""Followers of the events: each reads after the last cursor that it was told, and begins anew where a gateway dies."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import httpx

from tests.acceptance.stack import Stack

_PAUSE = 0.02
# So small that what piles up during a restart takes several pages.
_PAGE = 3
# A connection on which nothing comes for so long is dead: the gateway pings every 15 s.
_SILENCE = 25.0


class Reader:
    """Reads in a thread of its own, after the last cursor that it was told; begins anew where a gateway dies on it.

    `seen`: the ids of the events, as they came. `broken`: how often it lost its gateway.
    """

    def __init__(
        self,
        stack: Stack,
        read: Callable[[httpx.Client, str], Iterator[tuple[str, str | None]]],
        address: Callable[[], str | None] | None = None,
    ) -> None:
        """`address`: which gateway to read from next; None: there is none now."""
        self.seen: list[str] = []
        self.broken = 0
        self._address = address or (lambda: stack.address)
        self._read = read
        # The beginning has a cursor, too.
        self._cursor: str = httpx.get(f"{self._address()}/v1/events", trust_env=False).json()["next_cursor"]
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
            address = self._address()
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
