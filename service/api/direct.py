"""Routes on the way of every training, answered past FastAPI.

What it finds out anew for each request (dependencies, headers, the body's model) takes it longer than all the rest of a
train request takes us. So these routes are plain functions of a request that say in their first lines what they need,
and are asked before FastAPI's; those of theirs that are to be documented have a twin there that only describes them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from fastapi.exceptions import RequestValidationError
from fastapi.security.utils import get_authorization_scheme_param
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.routing import Match, Route

from service.api.body import JSON

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from service.components import Components
    from service.tenancy import Caller

Model = TypeVar("Model", bound=BaseModel)


class Direct(Route):
    """What `answer` raises becomes a problem as elsewhere: that is outside of all routes."""

    def __init__(self, path: str, answer: Callable[[Request], Awaitable[Response]], *, methods: Iterable[str]) -> None:
        super().__init__(path, _Asgi(answer), methods=[*methods], name=getattr(answer, "__name__", path))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        found["route"] = self  # as FastAPI does: metrics and lines of the log have its path
        return match, found


class _Asgi:
    """Not a function, which Starlette would take for one of a request, and wrap once more."""

    def __init__(self, answer: Callable[[Request], Awaitable[Response]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive, send))
        await response(scope, receive, send)


def parts_of(request: Request) -> Components:
    parts: Components = request.app.state.components
    return parts


def caller_of(request: Request, parts: Components) -> Caller:
    """Who calls; counted as a request of theirs. Raises Unauthenticated and RateLimited."""
    scheme, credential = get_authorization_scheme_param(request.headers.get("authorization"))
    return let_in(parts, credential if scheme.lower() == "bearer" and credential else None)


def let_in(parts: Components, credential: str | None) -> Caller:
    caller = parts.tenancy.identify(credential)
    parts.tenancy.pace(caller)
    return caller


def body_of(request: Request, model: type[Model]) -> Model:
    """The JSON body, which `BodyGuard` has read, as a model; raises what FastAPI raises of one that is none."""
    value = request.scope.get(JSON)
    if value is None:
        raise RequestValidationError([{"type": "missing", "loc": ("body",), "msg": "Field required"}])
    try:
        return model.model_validate(value, from_attributes=True)
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from None
