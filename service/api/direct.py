"""Routes on the way of every training, answered before FastAPI.

What it finds out anew for each request (dependencies, headers, the body's model), and the layers that it keeps round
its routes, take it longer than all the rest of a request takes us. So these routes are plain functions of a request
that say in their first lines what they need; those of theirs that are to be documented have a twin there that only
describes them.
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
from service.api.problems import problem_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from service.components import Components
    from service.tenancy import Caller

Model = TypeVar("Model", bound=BaseModel)


class Direct(Route):
    """`answer` is asked by `DirectRoutes`; among FastAPI's routes it stands for methods that it does not take."""

    def __init__(self, path: str, answer: Callable[[Request], Awaitable[Response]], *, methods: Iterable[str]) -> None:
        super().__init__(path, answer, methods=[*methods])
        self.methods = {*methods}  # Starlette adds HEAD to GET, and FastAPI does not
        self.answer = answer

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        found["route"] = self  # as FastAPI does: metrics and lines of the log have its path
        return match, found


class DirectRoutes:
    """ASGI middleware, within all others of ours. What `routes` raise becomes a problem as elsewhere."""

    def __init__(self, app: ASGIApp, *, routes: Sequence[Direct]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for route in self._routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found)
                await _answer(route, scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _answer(route: Direct, scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive, send)
    try:
        response = await route.answer(request)
    except Exception as error:
        refusal = await problem_of(request, error)
        if refusal is None:
            raise
        response = refusal
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
