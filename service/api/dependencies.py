"""What routes need: the components, the authenticated caller, page parameters and cursors."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.api.direct import let_in, parts_of
from service.components import Components
from service.domain.errors import InvalidRequest
from service.domain.ids import looks_like_id
from service.storage.tables import Delivery, Training, WebhookEndpoint
from service.tenancy import Caller

Row = TypeVar("Row", Training, Delivery, WebhookEndpoint)

_bearer = HTTPBearer(
    auto_error=False,
    description="Your PhotoGPT API key; GATEWAY_TOKEN, or nothing, if the gateway has a key of its own.",
)
_LONGEST_IDEMPOTENCY_KEY = 255


# Coroutines all of them: FastAPI would run a plain function in a thread, each for each request.


async def _components(request: Request) -> Components:
    return parts_of(request)


Parts = Annotated[Components, Depends(_components)]


async def _caller(parts: Parts, bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]) -> Caller:
    return let_in(parts, bearer.credentials if bearer else None)


Authenticated = Annotated[Caller, Depends(_caller)]


async def _admitted(parts: Parts, caller: Authenticated) -> Caller:
    await parts.tenancy.admit(caller)
    return caller


# For what a key that PhotoGPT does not know must not have of us: open connections, calls to other machines.
Admitted = Annotated[Caller, Depends(_admitted)]


async def _listening(parts: Parts, caller: Admitted) -> AsyncIterator[asyncio.Event]:
    with parts.waiters.listening(caller.tenant_id) as woken:
        yield woken


# Set by all news of the caller's; from before the route reads anything.
Listening = Annotated[asyncio.Event, Depends(_listening)]


async def _idempotency_key(
    idempotency_key: Annotated[
        str | None, Header(description="Any text of yours; the same request with it is answered once, for 24 h.")
    ] = None,
) -> str | None:
    return idempotency_key_of(idempotency_key)


def idempotency_key_of(idempotency_key: str | None) -> str | None:
    """The Idempotency-Key, bare or as the quoted string of the IETF draft."""
    if idempotency_key is None:
        return None
    key = idempotency_key.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not (1 <= len(key) <= _LONGEST_IDEMPOTENCY_KEY and key.isascii() and key.isprintable()):
        raise InvalidRequest("An Idempotency-Key has 1 to 255 printable ASCII characters.", pointer="Idempotency-Key")
    return key


IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]


@dataclass(frozen=True, slots=True)
class PageAsked:
    """`before`: list what has a smaller id, newest first."""

    limit: int
    before: str | None


async def _page(
    limit: Annotated[int, Query(ge=1, le=100, description="Items on a page.")] = 50,
    cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")] = None,
) -> PageAsked:
    return PageAsked(limit, None if cursor is None else _before(cursor))


Paging = Annotated[PageAsked, Depends(_page)]


def page_of(rows: Sequence[Row], asked: PageAsked, show: Callable[[Row], dict[str, Any]]) -> dict[str, Any]:
    """A page from `asked.limit + 1` rows: the one too many says whether there is a next page."""
    shown = rows[: asked.limit]
    more = len(rows) > asked.limit
    return {"data": [show(row) for row in shown], "next_cursor": encoded(shown[-1].id) if more else None}


def encoded(text: str) -> str:
    """`text` as an opaque cursor."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decoded(cursor: str) -> str:
    """What `encoded` was given, or something that is no cursor's content."""
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        return ""


def _before(cursor: str) -> str:
    row_id = decoded(cursor)
    if not looks_like_id(row_id):
        raise InvalidRequest("The cursor is not one of ours.", pointer="cursor", code="invalid_cursor")
    return row_id
