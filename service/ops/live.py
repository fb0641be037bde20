"""Server-sent events that say no more than: something has changed, look again. And the files that pages load."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from service.domain.errors import NotFound, TooManyWaiting
from service.ops import PREFIX
from service.ops.desk import AtDesk, Desk, asset
from service.ops.door import Operator
from service.waiters import EVERYBODY, LOOK_SECONDS, quiet

router = APIRouter(prefix=PREFIX, include_in_schema=False)

MOST_STREAMS = 20
# Whatever happens, a page looks no more often.
_PACE_SECONDS = 1.0
_RECONNECT_MS = 2000
_MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".LICENSE": "text/plain"}
_KEPT = "public, max-age=31536000, immutable"


async def _streaming(desk: AtDesk, _operator: Operator) -> AsyncIterator[Desk]:
    """Counted before the answer begins, when it can still be said that there are too many."""
    with _counted(desk):
        yield desk


@router.get("/changes", response_class=EventSourceResponse)
async def changes(desk: Annotated[Desk, Depends(_streaming)]) -> AsyncIterator[ServerSentEvent]:
    """An event after news, and now and then without any: polls, attempts and other replicas' doings are none here."""
    parts = desk.parts
    with parts.waiters.listening(EVERYBODY) as woken:
        # The first at once: something may have happened since the page was read.
        yield ServerSentEvent(event="changed", raw_data="", retry=_RECONNECT_MS)
        while not parts.waiters.closed:
            await parts.clock.sleep(_PACE_SECONDS)
            await quiet(woken, LOOK_SECONDS)
            woken.clear()
            if not parts.waiters.closed:
                yield ServerSentEvent(event="changed", raw_data="")


@router.get("/assets/{name}")
async def file(name: str) -> Response:
    try:
        content = asset(name)
    except KeyError:
        raise NotFound("There is no such file.") from None
    media_type = _MEDIA_TYPES[name[name.rindex(".") :]]
    return Response(content, media_type=media_type, headers={"cache-control": _KEPT})


@contextmanager
def _counted(desk: Desk) -> Iterator[None]:
    if len(desk.streams) >= MOST_STREAMS:
        raise TooManyWaiting(f"{MOST_STREAMS} pages are kept up to date already.")
    mine = object()
    desk.streams.add(mine)
    try:
        yield
    finally:
        desk.streams.discard(mine)
