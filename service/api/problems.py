"""Errors as `application/problem+json` (RFC 9457) with a stable `code`. The only place that maps errors to statuses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from service.api.safe_headers import with_safe_headers
from service.domain.errors import (
    Conflict,
    GatewayError,
    IdempotencyMismatch,
    InvalidRequest,
    NotFound,
    RateLimited,
    ShuttingDown,
    StorageUnavailable,
    TooManyWaiting,
    Unauthenticated,
    UpstreamRefused,
    UpstreamUnreachable,
)
from service.telemetry.logging import get_logger
from service.vault import SealBroken

_log = get_logger("api")

MEDIA_TYPE = "application/problem+json"
_STATUSES: Mapping[type[GatewayError], int] = {
    InvalidRequest: 422,
    IdempotencyMismatch: 422,
    Unauthenticated: 401,
    NotFound: 404,
    Conflict: 409,
    TooManyWaiting: 429,
    RateLimited: 429,
    UpstreamUnreachable: 503,
    StorageUnavailable: 503,
    ShuttingDown: 503,
}
# PhotoGPT's refusals keep their status (DESIGN 5); any other status of its would say something about us.
_RELAYED = frozenset({400, 401, 402, 403, 404, 409, 422, 429, 503})
_RETRY_AFTER_OUTAGE = 5
_MOST_ERRORS = 20
_CODES = {404: "not_found", 405: "method_not_allowed"}


def problem(
    status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> JSONResponse:
    """A problem response; `members` that are None are left out."""
    content = {
        "type": f"urn:photogpt-webhooks:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        **{name: value for name, value in members.items() if value is not None},
    }
    return JSONResponse(content, status, dict(headers or {}), MEDIA_TYPE)


def upstream_refusal(
    status: int | None, message: str, retry_after: int | None, training: Any | None = None
) -> JSONResponse:
    """PhotoGPT said no: its status, its words, and the rejected training if one was stored."""
    told = status or 502
    return problem(
        told if told in _RELAYED else 502,
        UpstreamRefused.code,
        message or f"PhotoGPT refused the request with HTTP {told}.",
        headers=_retry(retry_after),
        upstream={"status": told, "message": message},
        training=training,
    )


def upstream_unreachable(detail: str, training: Any | None = None) -> JSONResponse:
    return problem(503, UpstreamUnreachable.code, detail, headers=_retry(_RETRY_AFTER_OUTAGE), training=training)


def install(app: FastAPI) -> None:
    """Turn every error of `app` into a problem, the framework's own included."""
    for kind, answer in _ANSWERS.items():
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(Exception, _defect)


async def problem_of(request: Request, error: Exception) -> Response | None:
    """The same for an error that the framework did not see; None for a defect, which is answered outside of it all."""
    for kind in type(error).__mro__:
        if kind in _ANSWERS:
            return await _ANSWERS[kind](request, error)
    return None


async def _gateway_error(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, UpstreamRefused):
        return upstream_refusal(error.status, error.message, error.retry_after)
    if isinstance(error, UpstreamUnreachable):
        return upstream_unreachable(error.detail)
    if not isinstance(error, GatewayError):
        raise error
    status = next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 500)
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, StorageUnavailable | ShuttingDown | TooManyWaiting):
        headers = _retry(_RETRY_AFTER_OUTAGE)
    if isinstance(error, StorageUnavailable):
        # The heartbeat says it once, and what was refused for it has its line by `access`.
        _log.debug("refused_for_storage", cause=type(error.__cause__).__name__)
    if isinstance(error, Conflict | RateLimited):
        headers = _retry(error.retry_after)
    errors = [_field(error.pointer, error.detail)] if isinstance(error, InvalidRequest) else None
    return problem(status, error.code, error.detail, headers=headers, errors=errors)


async def _seal_broken(_request: Request, error: Exception) -> JSONResponse:
    """A secret that is stored can't be opened: no caller can help it, and it heals with the right master key."""
    _log.error("secret_unreadable", reason=str(error))
    detail = "A stored secret can't be opened: the gateway was started with another GATEWAY_MASTER_KEY than before."
    return problem(503, "secret_unreadable", detail, headers=_retry(_RETRY_AFTER_OUTAGE))


async def _validation_error(_request: Request, error: Exception) -> JSONResponse:
    """Names every wrong field; never repeats what was sent, which may be huge, secret or not even text."""
    if not isinstance(error, RequestValidationError):
        raise error
    errors = [_field(_pointer(found["loc"]), _sentence(found)) for found in error.errors()[:_MOST_ERRORS]]
    named = ", ".join(sorted({found["pointer"] or "the body" for found in errors}))
    return problem(422, InvalidRequest.code, f"The request is not valid: see {named}.", errors=errors)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["allow"] = ", ".join(_allowed(request))
    code = _CODES.get(error.status_code, "http_error")
    details = {404: "There is no such route.", 405: f"This route takes {headers.get('allow')}."}
    detail = details.get(error.status_code, str(error.detail))
    return problem(error.status_code, code, detail, headers=headers)


async def _defect(_request: Request, _error: Exception) -> JSONResponse:
    # The framework logs the traceback; the caller learns nothing of our inside. Here no middleware is round it.
    answer = problem(500, "internal_error", "Something went wrong on our side.")
    answer.raw_headers[:] = with_safe_headers(answer.raw_headers)
    return answer


_ANSWERS: Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    GatewayError: _gateway_error,
    SealBroken: _seal_broken,
    RequestValidationError: _validation_error,
    HTTPException: _http_error,
}


def _allowed(request: Request) -> list[str]:
    """The methods of all routes on this path: the framework names only those of the first."""
    # `app.routes` alone would not do: included routers are there as one route each, without methods.
    routes = [route for route in iter_route_contexts(request.app.routes) if _matches(route, request)]
    # `/test` is a path of its own, although `/{endpoint_id}` would match it, too.
    fewest = min((str(route.path).count("{") for route in routes), default=0)
    methods = {method for route in routes if str(route.path).count("{") == fewest for method in route.methods or ()}
    # No route at all matches below what is mounted, which is the files of the documentation.
    return sorted(methods or {"GET", "HEAD"})


def _matches(route: RouteContext, request: Request) -> bool:
    return route.matches(request.scope)[0] is not Match.NONE


def _field(pointer: str, detail: str) -> dict[str, str]:
    return {"pointer": pointer, "detail": detail}


def _pointer(location: Sequence[int | str]) -> str:
    """`("body", "callback", "url")` as `/callback/url`; a header or parameter by its name."""
    where, *path = [str(part)[:64] for part in location]
    if where == "body":
        if path[-1:] == ["[key]"]:  # the name of a member is wrong, not its value
            path.pop()
        return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)
    return path[0] if path else where  # of a parameter that is repeated, not which of them


def _sentence(found: Mapping[str, Any]) -> str:
    return {
        "missing": "This field is required.",
        "extra_forbidden": "There is no such field.",
    }.get(str(found["type"]), str(found["msg"]).removeprefix("Value error, ")[:200] + ".")


def _retry(seconds: int | None) -> dict[str, str]:
    return {} if seconds is None else {"retry-after": str(max(1, seconds))}
