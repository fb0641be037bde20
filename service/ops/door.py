"""Who may see and do what: the login, the session of each request, and forms that only our own pages can have sent."""

from __future__ import annotations

import math
import re
from typing import Annotated
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Depends, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from service.domain.errors import InvalidRequest, RateLimited, Unauthenticated
from service.ops import PREFIX
from service.ops.desk import AtDesk, Desk
from service.ops.sessions import COOKIE, LASTS, Session
from service.telemetry.logging import get_logger

router = APIRouter(prefix=PREFIX, include_in_schema=False)
_log = get_logger("ops")

_INSIDE = re.compile(rf"{PREFIX}(?:[/?][!-\[\]-~]*)?")
_MOST_FIELDS = 20
_LOGGED_IN = "logged_in=1"
Form = dict[str, str]


async def _form(request: Request) -> Form:
    """The fields of a form; of one that is there twice the last."""
    body = await request.body()
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise InvalidRequest("That is no form of this page.", pointer="") from None


async def _operator(request: Request, desk: AtDesk) -> Session:
    """The session of this request; where nobody has to log in, a new one."""
    session = desk.sessions.read(request.cookies.get(COOKIE))
    if session is not None:
        return session
    if not desk.sessions.need_login:
        return desk.sessions.begin()
    if (
        request.method == "GET"
        and "hx-request" not in request.headers
        and "text/html" in request.headers.get("accept", "")
    ):
        came_for = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        raise HTTPException(303, "Log in first.", {"location": f"{PREFIX}/login?next={quote(came_for, safe='')}"})
    raise Unauthenticated(f"Log in at {PREFIX}/login.")


Operator = Annotated[Session, Depends(_operator)]


async def _acting(request: Request, desk: AtDesk, operator: Operator) -> Session:
    """The session of a request that does something: by a form of one of its own pages."""
    _refuse_forged(desk, operator, await _form(request))
    return operator


Acting = Annotated[Session, Depends(_acting)]


def _refuse_forged(desk: Desk, session: Session, form: Form) -> None:
    if session.is_new or not desk.sessions.sent(session, form.get("csrf", "")):
        raise HTTPException(403, "This form is not of your session: go back, load the page again, and send it then.")


@router.get("/login")
async def login_page(
    request: Request, desk: AtDesk, came_for: Annotated[str, Query(alias="next", max_length=2000)] = PREFIX
) -> Response:
    # Who has just logged in and is here again has a browser that did not keep the cookie.
    lost = _LOGGED_IN in came_for
    came_for = _inside(came_for)
    if not desk.sessions.need_login or desk.sessions.read(request.cookies.get(COOKIE)) is not None:
        return RedirectResponse(came_for, 303)
    return desk.page(request, None, "login.html", came_for=came_for, wrong=None, lost=lost)


@router.post("/login")
async def login(request: Request, desk: AtDesk) -> Response:
    form = await _form(request)
    came_for = _inside(form.get("next", PREFIX))
    if not desk.sessions.need_login:
        return RedirectResponse(came_for, 303)
    seconds = desk.tries.take("all", desk.parts.clock.monotonic())
    if seconds:
        raise RateLimited("Too many tries to log in. Wait a moment.", retry_after=math.ceil(seconds))
    if not desk.sessions.admits(form.get("token", "")):
        _log.warning("operator_refused")
        wrong = "That is not the admin token."
        return desk.page(request, None, "login.html", status=401, came_for=came_for, wrong=wrong, lost=False)
    session = desk.sessions.begin()
    _log.info("operator_logged_in", session=session.shown)
    answer = RedirectResponse(came_for + ("&" if "?" in came_for else "?") + _LOGGED_IN, 303)
    desk.keep(request, answer, COOKIE, desk.sessions.cookie(session), int(LASTS.total_seconds()))
    return answer


@router.post("/logout")
async def logout(request: Request, desk: AtDesk, operator: Acting) -> Response:
    _log.info("operator_logged_out", session=operator.shown)
    answer = RedirectResponse(PREFIX, 303)
    desk.keep(request, answer, COOKIE, "", 0)
    return answer


def _inside(path: str) -> str:
    """Where to go after the login: a page of ours and nothing else."""
    path = re.sub(rf"[?&]{_LOGGED_IN}", "", path)
    return path if _INSIDE.fullmatch(path) and "//" not in path and "/login" not in path else PREFIX
