"""What holds for every request, whatever the route: its host, its origin, its path, and what it accepts.

Routes say what they do; this refuses what no route is to be asked, before the body is read. Every answer gets its
`safe_headers` here. What is no HTTP, or too much of it, never comes so far: `service.listener`.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from service.api.problems import MEDIA_TYPE, problem
from service.api.safe_headers import UNTOUCHED, with_safe_headers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_API = ("/v1/", "/api/")
_STREAM = "/v1/events/stream"
_ODD_PATH = re.compile(r"[\x00-\x1f\x7f\\\ufffd]|//|/\.\.?(?:/|$)")
_FORWARDED = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_READ = frozenset(
    {b"host", b"accept", b"origin", b"sec-fetch-site", b"content-length", b"transfer-encoding"}
)  # fmt: skip
# Longer than any client's own; what is longer is not worth the work.
_LONGEST_ACCEPT = 1024


class Edge:
    """ASGI middleware, before everything else.

    `open_sidecar`: the API listens on this machine alone and trusts who calls it there. A web page that somebody on
    this machine looks at calls from there too, so it is recognised by what browsers say of it (failure model 1).

    `page`: below which path there are pages with forms, which no other site may send. `open_page`: whoever can call is
    let in there, so that it is for this machine alone, and not for what a proxy passes on.
    """

    def __init__(
        self, app: ASGIApp, *, open_sidecar: bool = False, page: str | None = None, open_page: bool = False
    ) -> None:
        self._app = app
        self._open_sidecar = open_sidecar
        self._page = page
        self._open_page = open_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start" and not message.pop(UNTOUCHED, False):
                message["headers"] = with_safe_headers(message["headers"])
            await send(message)

        headers = {name: value for name, value in scope["headers"] if name in _READ}
        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self._app(scope, receive, send_safely)
            return
        if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
            # Nobody will read what comes.
            refusal.headers["connection"] = "close"
        await refusal(scope, receive, send_safely)

    def _refusal(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Response | None:
        path: str = scope["path"]
        on_page = self._page is not None and (path == self._page or path.startswith(f"{self._page}/"))
        if self._open_sidecar or (on_page and self._open_page):
            host = headers.get(b"host")
            if host is not None and not _names_this_machine(host):
                detail = "This gateway serves its own machine: call it as localhost or 127.0.0.1."
                return problem(421, "misdirected_request", detail)
        if on_page and self._open_page and any(name in _FORWARDED for name, _ in scope["headers"]):
            detail = "Through a proxy this page wants a login: set GATEWAY_ADMIN_TOKEN."
            return problem(403, "login_needed", detail)
        api = self._open_sidecar and path.startswith(_API) and _is_cross_site(headers)
        if api or (on_page and _is_foreign(scope["method"], headers, strict=self._open_page)):
            return problem(403, "cross_site_request", "Web pages of other sites can't use this gateway.")
        raw_path: bytes = scope.get("raw_path") or b""
        if _ODD_PATH.search(path) or (b"%" in raw_path and _BROKEN_ESCAPE.search(raw_path)):
            return problem(404, "not_found", "There is no such route.")
        accept = headers.get(b"accept", b"*/*")
        if accept != b"*/*" and path.startswith("/v1/"):
            offered = "text/event-stream" if path == _STREAM else "application/json"
            if len(accept) <= _LONGEST_ACCEPT and not _admits(accept, offered):
                return problem(406, "not_acceptable", f"This route answers {offered} and {MEDIA_TYPE}.")
        return None


@lru_cache(maxsize=256)
def _names_this_machine(host: bytes) -> bool:
    """Whether a Host header can't be of a name that somebody else had point here."""
    name = re.sub(r":[0-9]*$", "", host.decode("latin-1").lower())
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def _is_cross_site(headers: Mapping[bytes, bytes]) -> bool:
    if headers.get(b"sec-fetch-site") == b"cross-site":
        return True
    origin = headers.get(b"origin")
    return origin is not None and origin.partition(b"://")[2].lower() != headers.get(b"host", b"-").lower()


def _is_foreign(method: str, headers: Mapping[bytes, bytes], *, strict: bool) -> bool:
    """Whether another site's page asks for more than to be led here by a link. Where the browser says what it is, the
    origin need not fit a host that a proxy may have put there, unless `strict`.
    """
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if method in {"GET", "HEAD"} and origin is None:
        return False
    if site is not None and site not in {b"same-origin", b"none"}:
        return True
    if origin is None or (site is not None and not strict):
        return False
    return origin.partition(b"://")[2].lower() != headers.get(b"host", b"-").lower()


@lru_cache(maxsize=256)
def _admits(accept: bytes, offered: str) -> bool:
    """Whether this Accept takes `offered` or a problem. Of several ranges that fit, the closest counts (RFC 9110)."""
    ranges: dict[str, float] = {}
    for item in accept.decode("latin-1").lower().split(","):
        media_range, *parameters = (part.strip() for part in item.split(";"))
        if "/" in media_range:
            ranges[media_range] = max(ranges.get(media_range, 0.0), _quality(parameters))
    if not ranges:
        return True  # says nothing that we understand
    return any(_quality_of(media_type, ranges) > 0 for media_type in (offered, MEDIA_TYPE))


def _quality_of(media_type: str, ranges: Mapping[str, float]) -> float:
    closest = (media_type, media_type.partition("/")[0] + "/*", "*/*")
    return next((ranges[candidate] for candidate in closest if candidate in ranges), 0.0)


def _quality(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 1.0
    return 1.0
