"""`/v1/deliveries`: what was sent, what came of it, and when the next attempt is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from starlette.responses import JSONResponse

from service.api.dependencies import Authenticated, Paging, Parts, page_of
from service.api.responses import problems
from service.api.schemas import DeliveryOut, Page, Time
from service.components import Components
from service.domain.delivery import DeliveryStatus
from service.domain.egress import shown_url
from service.domain.errors import NotFound
from service.domain.event import rfc3339
from service.domain.ids import looks_like_id
from service.storage.database import UnitOfWork
from service.storage.deliveries import DeliveryFilter
from service.storage.tables import Attempt, Delivery
from service.tenancy import Caller

router = APIRouter(prefix="/v1/deliveries", tags=["Deliveries"])


@router.get(
    "",
    response_model=Page[DeliveryOut],
    summary="List deliveries, newest first",
    responses=problems(401, 422, 429, 503),
)
async def list_deliveries(
    parts: Parts,
    caller: Authenticated,
    page: Paging,
    training_id: Annotated[str | None, Query(pattern=r"^trn_[0-9a-z]{26}$")] = None,
    endpoint_id: Annotated[str | None, Query(pattern=r"^whe_[0-9a-z]{26}$")] = None,
    status: Annotated[DeliveryStatus | None, Query()] = None,
    since: Annotated[Time | None, Query(description="Created then or later (RFC 3339).")] = None,
    until: Annotated[Time | None, Query(description="Created before then.")] = None,
) -> Response:
    asked = DeliveryFilter(training_id, endpoint_id, status, since, until)

    def read(unit: UnitOfWork) -> dict[str, Any]:
        rows = unit.deliveries.page(caller.tenant_id, asked, before=page.before, limit=page.limit + 1)
        show = _shown(unit, rows)
        return page_of(rows, page, lambda row: show[row.id])

    return JSONResponse(await parts.database.read(read))


@router.get(
    "/{delivery_id}",
    response_model=DeliveryOut,
    summary="Read a delivery with its attempts",
    responses=problems(401, 404, 429, 503),
)
async def get_delivery(delivery_id: str, parts: Parts, caller: Authenticated) -> Response:
    return JSONResponse(await _read(parts, caller, delivery_id))


@router.post(
    "/{delivery_id}/retry",
    status_code=202,
    response_model=DeliveryOut,
    summary="Send a delivery again",
    description="Now, with the same `webhook-id` and body; if that fails, by the schedule from its beginning. One that "
    "is pending is only made due.",
    responses=problems(401, 404, 409, 429, 503),
)
async def retry_delivery(delivery_id: str, parts: Parts, caller: Authenticated) -> Response:
    if not looks_like_id(delivery_id):
        raise NotFound("There is no such delivery.")
    await parts.webhooks.recoveries.retry(caller, delivery_id)
    return JSONResponse(await _read(parts, caller, delivery_id), 202)


async def _read(parts: Components, caller: Caller, delivery_id: str) -> dict[str, Any]:
    def read(unit: UnitOfWork) -> dict[str, Any]:
        row = unit.deliveries.get(caller.tenant_id, delivery_id) if looks_like_id(delivery_id) else None
        if row is None:
            raise NotFound("There is no such delivery.")
        return _shown(unit, [row])[row.id]

    return await parts.database.read(read)


def _shown(unit: UnitOfWork, rows: Sequence[Delivery]) -> dict[str, dict[str, Any]]:
    attempts = unit.deliveries.attempts([row.id for row in rows])
    urls = unit.deliveries.urls(rows)
    return {
        row.id: _delivery(row, shown_url(urls[row.callback_id or row.endpoint_id or ""]), attempts[row.id])
        for row in rows
    }


def _delivery(row: Delivery, url: str, attempts: Sequence[Attempt]) -> dict[str, Any]:
    return {
        "id": row.id,
        "event_id": row.event_id,
        "event_type": row.event_type,
        "training_id": row.training_id,
        "endpoint_id": row.endpoint_id,
        "url": url,
        "status": row.status,
        "created_at": rfc3339(row.created_at),
        "next_attempt_at": rfc3339(row.due_at) if row.due_at else None,
        "finished_at": rfc3339(row.finished_at) if row.finished_at else None,
        "attempts": [_attempt(attempt) for attempt in attempts],
    }


def _attempt(row: Attempt) -> dict[str, Any]:
    return {
        "id": row.id,
        "number": row.number,
        "started_at": rfc3339(row.started_at),
        "duration_ms": row.duration_ms,
        "status_code": row.status_code,
        "error_class": row.error_class,
        "excerpt": row.excerpt,
    }
