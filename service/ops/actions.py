"""The few things to do: each is asked once, on a page of its own, and done by the very use case that the API calls.

Done as the tenant whose row it is; the log says which session did it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from service.domain.delivery import DeliveryStatus
from service.domain.egress import shown_url
from service.domain.endpoint import EndpointStatus
from service.domain.errors import Conflict, InvalidRequest, NotFound, RateLimited
from service.domain.ids import looks_like_id
from service.domain.training import TERMINAL, Status
from service.ops import PREFIX
from service.ops.desk import AtDesk, Desk
from service.ops.door import Acting, Operator
from service.ops.sessions import SAID_COOKIE, Session
from service.storage.database import UnitOfWork
from service.telemetry.logging import get_logger
from service.tenancy import Caller, on_behalf_of

router = APIRouter(prefix=PREFIX, include_in_schema=False)
_log = get_logger("ops")

_SAID_SECONDS = 60
# What `recover` sends again: what failed in the time after which an endpoint that fails is disabled, and a day more.
_RECOVERED = timedelta(days=6)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before something is done. `possible`: False where it can't be, and `text` says why."""

    title: str
    text: str
    button: str
    back: str
    tenant_id: str
    possible: bool = True
    grave: bool = False


Ask = Callable[[UnitOfWork, str, datetime], Question]
# What has come of it: tone and text.
Do = Callable[[Desk, Caller, str], Awaitable[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Action:
    kind: str
    name: str
    ask: Ask
    do: Do


@router.get("/{kind}/{row_id}/{name}")
async def question(request: Request, kind: str, row_id: str, name: str, desk: AtDesk, operator: Operator) -> Response:
    action = _action(kind, name, row_id)
    asked = await _asked(desk, action, row_id)
    return desk.page(request, operator, "question.html", asked=asked, action=request.url.path)


@router.post("/{kind}/{row_id}/{name}")
async def answer(request: Request, kind: str, row_id: str, name: str, desk: AtDesk, operator: Acting) -> Response:
    action = _action(kind, name, row_id)
    asked = await _asked(desk, action, row_id)
    tone, text = await _done(desk, action, asked, row_id, operator)
    desk.glance.forget()
    answer = RedirectResponse(asked.back, 303)
    desk.keep(request, answer, SAID_COOKIE, desk.sessions.say(tone, text), _SAID_SECONDS)
    return answer


async def _asked(desk: Desk, action: Action, row_id: str) -> Question:
    return await desk.parts.database.read(lambda unit: action.ask(unit, row_id, desk.now()))


async def _done(desk: Desk, action: Action, asked: Question, row_id: str, operator: Session) -> tuple[str, str]:
    """Do it, whatever stood on the page that asked: the use case looks for itself whether it still can be done."""
    try:
        tone, text = await action.do(desk, on_behalf_of(asked.tenant_id), row_id)
    except (NotFound, Conflict, RateLimited, InvalidRequest) as refused:
        tone, text = "bad", f"Nothing was done. {refused.detail}"
    _log.info("operator_acted", action=f"{action.kind}/{action.name}", row=row_id, session=operator.shown, came=tone)
    return tone, text


def _action(kind: str, name: str, row_id: str) -> Action:
    action = _ACTIONS.get((kind, name))
    if action is None or not looks_like_id(row_id):
        raise NotFound("There is no such page.")
    return action


# --- what is asked ----------------------------------------------------------------------------------------------------


def _ask_resend(unit: UnitOfWork, row_id: str, now: datetime) -> Question:
    del now
    row = unit.overview.delivery(row_id)
    if row is None:
        raise NotFound("There is no such delivery.")
    url = shown_url(unit.deliveries.urls([row]).get(row.callback_id or row.endpoint_id or "", row.host))
    again = {
        DeliveryStatus.DELIVERED: "It has arrived already: a receiver that keeps the webhook-id will drop it.",
        DeliveryStatus.DEAD: "If that fails, it is tried again by the schedule from its beginning.",
        DeliveryStatus.PENDING: "The attempt that is planned is made now instead.",
    }
    text = f"{row.event_type} goes to {url} once more, with the same webhook-id and body. "
    text += again[DeliveryStatus(row.status)]
    return Question("Send this webhook again?", text, "Resend now", f"{PREFIX}/deliveries/{row.id}", row.tenant_id)


def _ask_cancel(unit: UnitOfWork, row_id: str, now: datetime) -> Question:
    del now
    row = unit.overview.training(row_id)
    if row is None:
        raise NotFound("There is no such training.")
    text = (
        "It is taken out of the queue, and never triggered."
        if row.status == Status.QUEUED
        else "It is not polled any more, and no webhook will say how it ends. PhotoGPT has no cancel: the training "
        "itself goes on there, and is paid for."
    )
    over = row.status in TERMINAL
    if over:
        text = f"It has ended already: it is {row.status}."
    back = f"{PREFIX}/trainings/{row.id}"
    title = f"Stop watching model {row.model_id}?"
    return Question(title, text, "Stop the watch", back, row.tenant_id, possible=not over, grave=True)


def _ask_endpoint(title: str, text: str, button: str, *only: EndpointStatus) -> Ask:
    def ask(unit: UnitOfWork, row_id: str, now: datetime) -> Question:
        row = unit.overview.endpoint(row_id)
        if row is None:
            raise NotFound("There is no such webhook endpoint.")
        possible = row.deleted_at is None and (not only or row.status in only)
        if possible:
            count = _count(unit, row_id, now) if "{count}" in text else ""
            told = text.format(url=shown_url(row.url), count=count)
        else:
            told = f"It is {row.status}." if row.deleted_at is None else "It was deleted."
        return Question(title, told, button, f"{PREFIX}/endpoints/{row.id}", row.tenant_id, possible=possible)

    return ask


def _count(unit: UnitOfWork, endpoint_id: str, now: datetime) -> str:
    count = unit.deliveries.count_failed(endpoint_id, since=now - _RECOVERED, until=now)
    return f"{count:,} deliver{'y' if count == 1 else 'ies'}"


# --- what is done -----------------------------------------------------------------------------------------------------


async def _resend(desk: Desk, caller: Caller, row_id: str) -> tuple[str, str]:
    await desk.parts.webhooks.recoveries.retry(caller, row_id)
    return "good", "It is being sent again. What comes of it is shown here."


async def _cancel(desk: Desk, caller: Caller, row_id: str) -> tuple[str, str]:
    await desk.parts.trainings.cancellation.cancel(caller, row_id)
    return "good", "The watch was stopped."


async def _pause(desk: Desk, caller: Caller, row_id: str) -> tuple[str, str]:
    await desk.parts.webhooks.endpoints.change(caller, row_id, {"status": EndpointStatus.PAUSED})
    return "good", "Paused. Its events wait until it is resumed."


async def _resume(desk: Desk, caller: Caller, row_id: str) -> tuple[str, str]:
    await desk.parts.webhooks.endpoints.change(caller, row_id, {"status": EndpointStatus.ACTIVE})
    return "good", "Resumed. What waited is being sent."


async def _test(desk: Desk, caller: Caller, row_id: str) -> tuple[str, str]:
    came: dict[str, Any] = await desk.parts.webhooks.trial.endpoint(caller, row_id)
    took = came["attempt"]["duration_ms"]
    if came["delivered"]:
        return "good", f"The test event arrived: HTTP {came['attempt']['status_code']} after {took} ms."
    return "bad", f"The test event did not arrive, after {took} ms. {came['problem']}."


async def _recover(desk: Desk, caller: Caller, row_id: str) -> tuple[str, str]:
    job = await desk.parts.webhooks.recoveries.start(caller, row_id, desk.now() - _RECOVERED, None, None)
    return "good", f"{job.total:,} deliver{'y is' if job.total == 1 else 'ies are'} being sent again."


_ACTIONS = {
    (action.kind, action.name): action
    for action in (
        Action("deliveries", "resend", _ask_resend, _resend),
        Action("trainings", "cancel", _ask_cancel, _cancel),
        Action(
            "endpoints",
            "pause",
            _ask_endpoint(
                "Pause this webhook endpoint?",
                "Nothing is sent to {url} until it is resumed. Its events wait, and none is lost.",
                "Pause",
                EndpointStatus.ACTIVE,
            ),
            _pause,
        ),
        Action(
            "endpoints",
            "resume",
            _ask_endpoint(
                "Resume this webhook endpoint?",
                "Events go to {url} again, and what has waited is sent now. What was given up while it was disabled is "
                "sent by “recover” alone.",
                "Resume",
                EndpointStatus.PAUSED,
                EndpointStatus.DISABLED,
            ),
            _resume,
        ),
        Action(
            "endpoints",
            "test",
            _ask_endpoint(
                "Send a test event?",
                "One webhook.test event goes to {url}, signed as any other. Nothing is stored, and nothing is "
                "concluded from what comes of it.",
                "Send it now",
            ),
            _test,
        ),
        Action(
            "endpoints",
            "recover",
            _ask_endpoint(
                "Send again what failed?",
                "{count} to {url} of the last 6 days that failed, or wait for another attempt, are sent again, with "
                "their old webhook-ids.",
                "Recover",
                EndpointStatus.ACTIVE,
            ),
            _recover,
        ),
    )
}
