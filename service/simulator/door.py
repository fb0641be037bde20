"""The way in to PhotoGPT's routes: the prefix they share, the key and the version that every request needs.

They are plain Starlette routes: polls come by the thousand per second, and FastAPI's would cost as much as the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.simulator.envelope import RefusedError

PREFIX = "/api"
Handler = Callable[[Request, str], Awaitable[Response]]


class Door:
    def __init__(self, keys: frozenset[str] | None) -> None:
        self._keys = keys

    def route(self, method: str, path: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            return await handler(request, self._admit(request))

        route = Route(PREFIX + path, endpoint, methods=[method])
        # Starlette lets HEAD in wherever GET is, and a HEAD must not start a training.
        route.methods = {method}
        return route

    def _admit(self, request: Request) -> str:
        """The key of a request that may come in."""
        key = bearer_key(request.headers.get("authorization"))
        if key is None or (self._keys is not None and key not in self._keys):
            raise RefusedError(401, "the API key is missing or not valid")
        if request.headers.get("api-version") != "1":
            raise RefusedError(400, "the header API-Version must be 1")
        return key


def bearer_key(authorization: str | None) -> str | None:
    scheme, _, key = (authorization or "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None
