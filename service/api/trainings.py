"""`/v1/trainings`: start, read, list and cancel."""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.responses import JSONResponse

from service.api.dependencies import (
    Authenticated,
    IdempotencyKey,
    Paging,
    Parts,
    idempotency_key_of,
    page_of,
)
from service.api.direct import Direct, body_of, caller_of, parts_of
from service.api.problems import upstream_refusal, upstream_unreachable
from service.api.responses import problems
from service.api.schemas import Page, TrainingOut, TrainRequestIn
from service.components import Components
from service.domain.errors import InvalidRequest, NotFound
from service.domain.ids import looks_like_id
from service.domain.training import Status
from service.storage.database import UnitOfWork
from service.tenancy import Caller
from service.trainings.request import CallbackRequest, Outcome, OutcomeKind, TrainRequest
from service.trainings.resource import current_resource, training_resource
from service.waiters import LOOK_SECONDS, quiet

router = APIRouter(prefix="/v1/trainings", tags=["Trainings"])

_LONGEST_WAIT = 60.0


@router.post(
    "",
    status_code=202,
    response_model=TrainingOut,
    summary="Train a model and watch it",
    description="Triggers PhotoGPT once, and watches the model until it is ready or deleted. A request for a model "
    "that is being trained joins that training. `submitting` means that PhotoGPT's answer was lost: the model is read "
    "instead, and the event tells the rest. With `on_capacity: queue` a training that PhotoGPT has no room for is "
    "`queued`: started in its turn, when one of yours has ended or after a pause, and rejected after a day in vain.",
    responses=problems(
        *(400, 401, 402, 403, 404, 408, 409, 413, 415, 422, 429, 502, 503),
        others={200: {"model": TrainingOut, "description": "Joined: the model is already being trained."}},
    ),
)
async def start_training(body: TrainRequestIn, caller: Authenticated, key: IdempotencyKey) -> None:
    """Only described here: `start` answers."""


async def _start(request: Request) -> Response:
    parts = parts_of(request)
    caller = caller_of(request, parts)
    key = idempotency_key_of(request.headers.get("idempotency-key"))
    body = body_of(request, TrainRequestIn)
    parts.lifecycle.refuse_while_draining()
    asked = TrainRequest(body.model_id, _callback(body), body.metadata, key, queues=body.on_capacity == "queue")
    return _answer(await parts.trainings.intake.start(caller, asked), parts)


start = Direct(router.prefix, _start, methods=["POST"])


@router.get(
    "",
    response_model=Page[TrainingOut],
    summary="List trainings, newest first",
    responses=problems(401, 422, 429, 503),
)
async def list_trainings(
    parts: Parts,
    caller: Authenticated,
    page: Paging,
    status: Annotated[Status | None, Query()] = None,
    model_id: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,128}$")] = None,
) -> Response:
    def read(unit: UnitOfWork) -> dict[str, Any]:
        rows = unit.trainings.page(
            caller.tenant_id, status=status, model_id=model_id, before=page.before, limit=page.limit + 1
        )
        callbacks, places = unit.trainings.callbacks([row.id for row in rows]), unit.queues.positions(rows)
        return page_of(rows, page, lambda row: training_resource(row, callbacks[row.id], places.get(row.id)))

    return JSONResponse(await parts.database.read(read))


@router.get(
    "/{training_id}",
    response_model=TrainingOut,
    summary="Read a training",
    description="Has an ETag: send it as If-None-Match, and an unchanged training is a 304 without a body. With "
    "`Prefer: wait=30` the answer comes as soon as the status changes, or after so many seconds (60 at most).",
    responses=problems(401, 404, 429, 503, others={304: {"description": "Unchanged since that ETag."}}),
)
async def get_training(
    training_id: str,
    caller: Authenticated,
    prefer: Annotated[str | None, Header(description="`wait=N`: wait up to N seconds for another status.")] = None,
) -> None:
    """Only described here: `read` answers."""


async def _get(request: Request) -> Response:
    parts = parts_of(request)
    caller = caller_of(request, parts)
    seconds = _wait(request.headers.get("prefer"))
    training = await _read(parts, caller, request.path_params["training_id"])
    headers = {"cache-control": "no-cache"}
    if seconds is not None:
        headers["preference-applied"] = f"wait={seconds:g}"
        if training["finished_at"] is None:
            training = await _changed(parts, caller, training, seconds)
    response = JSONResponse(training, headers=headers)
    etag = f'"{hashlib.sha256(bytes(response.body)).hexdigest()[:32]}"'
    response.headers["etag"] = etag
    if etag in [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers={"etag": etag, "cache-control": "no-cache"})
    return response


read = Direct(f"{router.prefix}/{{training_id}}", _get, methods=["GET"])


@router.delete(
    "/{training_id}",
    response_model=TrainingOut,
    summary="Stop watching a training",
    description="PhotoGPT offers no cancel: the training there goes on, but you hear nothing more of it.",
    responses=problems(401, 404, 409, 429, 503),
)
async def cancel_training(training_id: str, parts: Parts, caller: Authenticated) -> Response:
    if not looks_like_id(training_id):
        raise NotFound("There is no such training.")
    return JSONResponse(await parts.trainings.cancellation.cancel(caller, training_id))


async def _read(parts: Components, caller: Caller, training_id: str) -> dict[str, Any]:
    def read(unit: UnitOfWork) -> dict[str, Any]:
        row = unit.trainings.get(caller.tenant_id, training_id) if looks_like_id(training_id) else None
        if row is None:
            raise NotFound("There is no such training.")
        return current_resource(unit, row)

    return await parts.database.read(read)


async def _changed(parts: Components, caller: Caller, before: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The training once its status is another than `before`, or as it is after so many seconds."""
    now = before
    with parts.waiters.listening(caller.tenant_id) as woken, suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not parts.waiters.closed:
                woken.clear()
                now = await _read(parts, caller, before["id"])
                if now["status"] != before["status"]:
                    break
                await quiet(woken, LOOK_SECONDS)
    return now


def _wait(prefer: str | None) -> float | None:
    """The seconds of `wait` among the preferences (RFC 7240), at most _LONGEST_WAIT; what is no number is no wish."""
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})\"?(?:$|[,;\s])", prefer or "", re.IGNORECASE)
    return min(float(found[1]), _LONGEST_WAIT) if found else None


def _callback(body: TrainRequestIn) -> CallbackRequest | None:
    if body.callback_url is not None and body.callback is not None:
        raise InvalidRequest("Send callback_url or callback, not both.", pointer="/callback_url", code="two_callbacks")
    if body.callback_url is not None:
        return CallbackRequest(body.callback_url, "/callback_url")
    if body.callback is None:
        return None
    return CallbackRequest(
        body.callback.url, "/callback/url", tuple(body.callback.events), body.callback.secret, body.callback.headers
    )


def _answer(outcome: Outcome, parts: Components) -> Response:
    response = _response(outcome, parts)
    if outcome.replayed:
        response.headers["idempotent-replayed"] = "true"
    return response


def _response(outcome: Outcome, parts: Components) -> Response:
    training = outcome.training
    if outcome.kind is OutcomeKind.REFUSED:
        return upstream_refusal(outcome.status, outcome.message, outcome.retry_after, training)
    if outcome.kind is OutcomeKind.UNREACHABLE or training is None:
        return upstream_unreachable(outcome.message, training)
    headers = {"location": training["urls"]["self"], "retry-after": str(_seconds_to_news(training, parts))}
    return JSONResponse(training, 202 if outcome.kind is OutcomeKind.ACCEPTED else 200, headers)


def _seconds_to_news(training: dict[str, Any], parts: Components) -> int:
    """To its next poll, or to the next turn of its queue."""
    if training["status"] == Status.QUEUED:
        return math.ceil(parts.settings.queue_pause)
    due = training["next_poll_at"]
    return max(1, math.ceil((datetime.fromisoformat(due) - parts.clock.now()).total_seconds())) if due else 1
