"""What the pages have to work with, and how a page is made: its frame, its policy, and what the last action said."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any

from fastapi import Depends, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from service.components import Components
from service.domain.token_bucket import TokenBuckets
from service.ops import PREFIX, words
from service.ops.overview import Glance
from service.ops.sessions import COOKIE, LASTS, SAID_COOKIE, Session, Sessions
from service.storage.tables import Training

# Everything from here, nothing inline, nothing framed, no form to elsewhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
# Wrong admin tokens: ten at once, and then one a second, over all callers of this process.
_TRIES_PER_SECOND, _TRIES_AT_ONCE = 1.0, 10


@dataclass(frozen=True, slots=True)
class Desk:
    """One for a process."""

    parts: Components
    sessions: Sessions
    glance: Glance
    tries: TokenBuckets = field(default_factory=lambda: TokenBuckets(_TRIES_PER_SECOND, _TRIES_AT_ONCE))
    streams: set[object] = field(default_factory=set)

    def now(self) -> datetime:
        return self.parts.clock.now()

    @property
    def many_tenants(self) -> bool:
        """Whether it is worth saying whose something is."""
        return self.parts.settings.photogpt_api_key is None

    def page(
        self, request: Request, session: Session | None, template: str, *, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """`values` in the template, for this session; None: before the login."""
        came = self.sessions.said(request.cookies.get(SAID_COOKIE)) if session else None
        text = render(
            template,
            **values,
            now=self.now(),
            session=session,
            came=came,
            need_login=self.sessions.need_login,
            many_tenants=self.many_tenants,
        )
        answer = HTMLResponse(text, status, headers={"content-security-policy": POLICY})
        if session is not None and session.is_new:
            self.keep(request, answer, COOKIE, self.sessions.cookie(session), int(LASTS.total_seconds()))
        if came is not None:
            self.keep(request, answer, SAID_COOKIE, "", 0)
        return answer

    def keep(self, request: Request, answer: Response, name: str, value: str, seconds: int) -> None:
        """Set a cookie; over plain http only where the browser is on this machine, and nobody in between."""
        host = (request.url.hostname or "").lower()
        plain = host in {"localhost", "::1"} or host.startswith("127.")
        answer.set_cookie(name, value, seconds, path=PREFIX, secure=not plain, httponly=True, samesite="strict")


async def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.ops
    return desk


AtDesk = Annotated[Desk, Depends(_desk)]


def render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(values)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("service.ops"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals.update(asset=asset_url, prefix=PREFIX, **_WORDS)
    return environment


def asset(name: str) -> bytes:
    """A file that pages load; KeyError if there is none of that name."""
    return _assets()[name]


def asset_url(name: str) -> str:
    """With what changes when the file does: browsers may keep it for good."""
    return f"{PREFIX}/assets/{name}?v={hashlib.sha256(asset(name)).hexdigest()[:12]}"


@lru_cache(maxsize=1)
def _assets() -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in files("service.ops").joinpath("assets").iterdir()}


def _owner(tenant_id: str) -> str:
    """A tenant as it is shown: the beginning of the keyed hash of its key."""
    return tenant_id.removeprefix("ten_")[:8]


def _flags(row: Training) -> list[str]:
    """What is to be said beside the status."""
    if row.finished_at is not None:
        return []
    return [name for name, is_so in (("overdue", row.overdue), ("suspended", row.suspended)) if is_so]


_WORDS: dict[str, Any] = {
    "span": words.span,
    "soon": words.soon,
    "moment": words.moment,
    "owner": _owner,
    "flags": _flags,
    "training_said": words.training_said,
    "endpoint_said": words.endpoint_said,
}
