"""`/v1/events`: for those who can't be called back, what happened, in the order of the commits: none is skipped."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import JSONResponse

from service.api.dependencies import (
    Authenticated,
    Listening,
    Parts,
    decoded,
    encoded,
)
from service.api.responses import problems
from service.api.schemas import EventsOut, StoredEventOut
from service.components import Components
from service.domain.errors import InvalidRequest, NotFound
from service.domain.event import EventType
from service.domain.ids import looks_like_id
from service.storage.tables import Event
from service.tenancy import Caller
from service.waiters import LOOK_SECONDS, quiet

router = APIRouter(prefix="/v1/events", tags=["Events"])

_STREAM_BATCH = 100
_RECONNECT_MS = 1000

After = Annotated[
    str | None,
    Query(max_length=200, description="A cursor: `next_cursor` of a page, or the `id` of a streamed event."),
]
Types = Annotated[list[EventType] | None, Query(alias="type", description="Only these types; may be repeated.")]


async def _begin(
    parts: Parts,
    caller: Authenticated,
    after: After = None,
    last_event_id: Annotated[str | None, Header(max_length=200, description="The `id` seen last.")] = None,
) -> int:
    """The position after which a stream begins: checked before its answer does, when an error can still be said."""
    cursor = last_event_id or after
    if cursor is not None:
        return _position(cursor)
    return await parts.database.read(lambda unit: unit.events.last_position(caller.tenant_id))


@router.get(
    "",
    response_model=EventsOut,
    summary="List events, oldest first",
    description="Read on with `after` = `next_cursor`, also when `has_more` is false: what happens later comes then. "
    "No event is skipped, whenever its transaction commits. Kept for 30 days.",
    responses=problems(401, 422, 429, 503),
)
async def list_events(
    parts: Parts,
    caller: Authenticated,
    after: After = None,
    event_type: Types = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Items on a page.")] = 50,
) -> Response:
    rows = await _after(parts, caller, _position(after), event_type, limit + 1)
    shown = rows[:limit]
    cursor = _cursor(shown[-1].position) if shown else after or _cursor(0)
    page = {"data": [_event(row) for row in shown], "next_cursor": cursor, "has_more": len(rows) > limit}
    return JSONResponse(page)


@router.get(
    "/stream",
    response_class=EventSourceResponse,
    summary="Follow events",
    description="Server-sent events: `id` is a cursor, `event` the type, `data` the event. Begins after "
    "`Last-Event-ID` or `after`, without both with the next event. Ends when the gateway restarts: connect again with "
    "`Last-Event-ID`.",
    responses=problems(401, 403, 422, 429, 503),
)
async def stream_events(
    parts: Parts,
    caller: Authenticated,
    begin: Annotated[int, Depends(_begin)],
    woken: Listening,
    event_type: Types = None,
) -> AsyncIterator[ServerSentEvent]:
    # Said at once, so that a client knows that it is connected, and from where it would go on.
    yield ServerSentEvent(comment="connected", id=_cursor(begin), retry=_RECONNECT_MS)
    position = begin
    while not parts.waiters.closed:
        woken.clear()
        rows = await _after(parts, caller, position, event_type)
        for row in rows:
            yield ServerSentEvent(raw_data=json.dumps(_event(row)), event=row.type, id=_cursor(row.position))
        if rows:
            position = rows[-1].position
        else:
            await quiet(woken, LOOK_SECONDS)


@router.get(
    "/{event_id}", response_model=StoredEventOut, summary="Read an event", responses=problems(401, 404, 429, 503)
)
async def get_event(event_id: str, parts: Parts, caller: Authenticated) -> Response:
    row = None
    if looks_like_id(event_id):
        row = await parts.database.read(lambda unit: unit.events.get(caller.tenant_id, event_id))
    if row is None:
        raise NotFound("There is no such event.")
    return JSONResponse(_event(row))


async def _after(
    parts: Components, caller: Caller, position: int, types: Sequence[str] | None, limit: int = _STREAM_BATCH
) -> Sequence[Event]:
    return await parts.database.read(
        lambda unit: unit.events.after(caller.tenant_id, position, types=types or (), limit=limit)
    )


def _event(row: Event) -> dict[str, Any]:
    return {"id": row.id, **json.loads(row.body)}


def _cursor(position: int) -> str:
    return encoded(f"events-{position}")


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    name, _, number = decoded(cursor).partition("-")
    if name != "events" or not (number.isascii() and number.isdigit() and len(number) <= 18):
        raise InvalidRequest("The cursor is not one of ours.", pointer="after", code="invalid_cursor")
    return int(number)
