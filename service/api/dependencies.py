"""What routes need: the components, the authenticated caller, page parameters and cursors."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.bootstrap import Components
from service.domain.errors import InvalidRequest
from service.storage.tables import Delivery, Training
from service.tenancy import Caller

Row = TypeVar("Row", Training, Delivery)

_bearer = HTTPBearer(
    auto_error=False,
    description="Your PhotoGPT API key; GATEWAY_TOKEN, or nothing, if the gateway has a key of its own.",
)
_ID = re.compile(r"[a-z]{3}_[0-9a-z]{26}")


def _components(request: Request) -> Components:
    components: Components = request.app.state.components
    return components


Parts = Annotated[Components, Depends(_components)]


def _caller(parts: Parts, bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]) -> Caller:
    return parts.tenancy.identify(bearer.credentials if bearer else None)


Authenticated = Annotated[Caller, Depends(_caller)]


@dataclass(frozen=True, slots=True)
class PageAsked:
    """`before`: list what has a smaller id, newest first."""

    limit: int
    before: str | None


def _page(
    limit: Annotated[int, Query(ge=1, le=100, description="Items on a page.")] = 50,
    cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")] = None,
) -> PageAsked:
    return PageAsked(limit, None if cursor is None else _decoded(cursor))


Paging = Annotated[PageAsked, Depends(_page)]


def page_of(rows: Sequence[Row], asked: PageAsked, show: Callable[[Row], dict[str, Any]]) -> dict[str, Any]:
    """A page from `asked.limit + 1` rows: the one too many says whether there is a next page."""
    shown = rows[: asked.limit]
    more = len(rows) > asked.limit
    return {"data": [show(row) for row in shown], "next_cursor": _encoded(shown[-1].id) if more else None}


def looks_like_id(text: str) -> bool:
    """Whether it is worth asking the database."""
    return _ID.fullmatch(text) is not None


def _encoded(row_id: str) -> str:
    return base64.urlsafe_b64encode(row_id.encode()).decode().rstrip("=")


def _decoded(cursor: str) -> str:
    try:
        row_id = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        row_id = ""
    if not looks_like_id(row_id):
        raise InvalidRequest("The cursor is not one of ours.", pointer="cursor", code="invalid_cursor")
    return row_id
