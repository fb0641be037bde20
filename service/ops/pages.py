"""What there is to look at: the overview, the lists, and one training, delivery or webhook endpoint with its story."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from service.domain.delivery import DeliveryStatus
from service.domain.egress import shown_url
from service.domain.errors import NotFound
from service.domain.ids import looks_like_id
from service.domain.training import Status
from service.ops import PREFIX
from service.ops.desk import AtDesk, Desk
from service.ops.door import Operator
from service.ops.story import Sending, Told, attempts_told, sendings, story_of, why_nobody_was_told
from service.ops.words import endpoint_said, training_said
from service.storage.database import UnitOfWork
from service.storage.overview import DeliverySearch, TrainingSearch
from service.storage.tables import Delivery, WebhookEndpoint

router = APIRouter(prefix=PREFIX, include_in_schema=False)

_PAGE = 50
_STATUSES = ("active", "overdue", "suspended", *Status)
_DELIVERY_STATUSES = ("failing", *DeliveryStatus)
_SHOWN_DELIVERIES = 20
_SHOWN_UNDELIVERED = 3

# Nothing that no row can have goes to the database. Empty: a field of a form that was left so.
Before = Annotated[str | None, Query(pattern=r"^[a-z]{3}_[0-9a-z]{26}$")]
ModelId = Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{0,128}$")]
TenantId = Annotated[str, Query(pattern=r"^(ten_[A-Za-z0-9_=-]{1,100})?$")]
EndpointId = Annotated[str, Query(pattern=r"^(whe_[0-9a-z]{26})?$")]
TrainingId = Annotated[str, Query(pattern=r"^(trn_[0-9a-z]{26})?$")]
Host = Annotated[str, Query(pattern=r"^[A-Za-z0-9.:\[\]-]{0,300}$")]
StatusAsked = Annotated[str, Query(pattern=rf"^({'|'.join(_STATUSES)})?$")]
DeliveryStatusAsked = Annotated[str, Query(pattern=rf"^({'|'.join(_DELIVERY_STATUSES)})?$")]


@router.get("")
async def overview(request: Request, desk: AtDesk, operator: Operator) -> Response:
    seen = await desk.glance.look()
    state = desk.parts.lifecycle.readiness()["status"]
    return desk.page(request, operator, "overview.html", seen=seen, state=state)


@router.get("/trainings")
async def trainings(
    request: Request,
    desk: AtDesk,
    operator: Operator,
    status: StatusAsked = "",
    model: ModelId = "",
    tenant: TenantId = "",
    before: Before = None,
) -> Response:
    asked = TrainingSearch(status or None, model or None, tenant or None)
    window = await desk.parts.database.read(lambda unit: unit.overview.trainings(asked, before=before, limit=_PAGE))
    filters = {"status": status, "model": model, "tenant": tenant}
    return desk.page(
        request, operator, "trainings.html", window=window, asked=filters, statuses=_STATUSES, before=before
    )


@router.get("/trainings/{training_id}")
async def training(request: Request, training_id: str, desk: AtDesk, operator: Operator) -> Response:
    now, steps = desk.now(), len(desk.parts.settings.schedule)

    def read(unit: UnitOfWork) -> Told:
        row = unit.overview.training(_id(training_id, "training"))
        if row is None:
            raise NotFound("There is no such training.")
        deliveries = unit.overview.deliveries_of(row.id)
        found = _sendings(unit, deliveries, now, steps)
        callbacks = unit.trainings.callbacks([row.id])[row.id]
        events = unit.overview.events_of(row.id)
        return Told(row, callbacks, events, found, unit.queues.positions([row]).get(row.id))

    told = await desk.parts.database.read(read)
    said = training_said(told.row, now, told.place)
    story = story_of(told, now)
    undelivered = [one for one in reversed(told.sendings) if one.row.status != DeliveryStatus.DELIVERED]
    return desk.page(
        request,
        operator,
        "training.html",
        told=told,
        said=said,
        undelivered=undelivered[:_SHOWN_UNDELIVERED],
        story=story,
        nobody=why_nobody_was_told(told),
    )


async def _delivery_search(
    status: DeliveryStatusAsked = "",
    host: Host = "",
    endpoint: EndpointId = "",
    training: TrainingId = "",
    tenant: TenantId = "",
) -> DeliverySearch:
    return DeliverySearch(status or None, host.lower() or None, tenant or None, endpoint or None, training or None)


@router.get("/deliveries")
async def deliveries(
    request: Request,
    desk: AtDesk,
    operator: Operator,
    asked: Annotated[DeliverySearch, Depends(_delivery_search)],
    before: Before = None,
) -> Response:
    now, steps = desk.now(), len(desk.parts.settings.schedule)

    def read(unit: UnitOfWork) -> tuple[list[Sending], str | None]:
        window = unit.overview.deliveries(asked, before=before, limit=_PAGE)
        return _sendings(unit, window.rows, now, steps), window.older

    found, older = await desk.parts.database.read(read)
    filters = {
        "status": asked.status,
        "host": asked.host,
        "endpoint": asked.endpoint_id,
        "training": asked.training_id,
        "tenant": asked.tenant_id,
    }
    return desk.page(
        request,
        operator,
        "deliveries.html",
        found=found,
        older=older,
        asked={name: value or "" for name, value in filters.items()},
        statuses=_DELIVERY_STATUSES,
        before=before,
    )


@router.get("/deliveries/{delivery_id}")
async def delivery(request: Request, delivery_id: str, desk: AtDesk, operator: Operator) -> Response:
    now, steps = desk.now(), len(desk.parts.settings.schedule)

    def read(unit: UnitOfWork) -> tuple[Sending, bytes | None]:
        row = unit.overview.delivery(_id(delivery_id, "delivery"))
        if row is None:
            raise NotFound("There is no such delivery.")
        event = unit.overview.event(row.event_id)
        return _sendings(unit, [row], now, steps)[0], event.body if event else None

    sending, body = await desk.parts.database.read(read)
    attempts = attempts_told(sending, body)
    return desk.page(request, operator, "delivery.html", sending=sending, attempts=attempts)


@router.get("/endpoints")
async def endpoints(
    request: Request, desk: AtDesk, operator: Operator, tenant: TenantId = "", before: Before = None
) -> Response:
    window = await desk.parts.database.read(
        lambda unit: unit.overview.endpoints(tenant_id=tenant or None, before=before, limit=_PAGE)
    )
    shown = [(row, shown_url(row.url)) for row in window.rows]
    asked = {"tenant": tenant}
    return desk.page(request, operator, "endpoints.html", shown=shown, older=window.older, asked=asked, before=before)


@router.get("/endpoints/{endpoint_id}")
async def endpoint(request: Request, endpoint_id: str, desk: AtDesk, operator: Operator) -> Response:
    now, steps = desk.now(), len(desk.parts.settings.schedule)

    def read(unit: UnitOfWork) -> tuple[WebhookEndpoint, list[Sending], bool]:
        row = unit.overview.endpoint(_id(endpoint_id, "webhook endpoint"))
        if row is None:
            raise NotFound("There is no such webhook endpoint.")
        asked = DeliverySearch(endpoint_id=row.id)
        window = unit.overview.deliveries(asked, before=None, limit=_SHOWN_DELIVERIES)
        return row, _sendings(unit, window.rows, now, steps), window.older is not None

    row, found, more = await desk.parts.database.read(read)
    return desk.page(
        request,
        operator,
        "endpoint.html",
        row=row,
        url=shown_url(row.url),
        found=found,
        more=more,
        said=endpoint_said(row, now),
    )


@router.get("/search")
async def search(
    request: Request, desk: AtDesk, operator: Operator, q: Annotated[str, Query(max_length=300)] = ""
) -> Response:
    """Any id, pasted from a log, a header or a message, leads to what it names; else it is a model."""
    wanted = q.strip().strip("\"'`,")
    if looks_like_id(wanted):
        place = await _place_of(desk, wanted)
        if place is not None:
            return RedirectResponse(place, 303)
    elif wanted and all(sign.isascii() and (sign.isalnum() or sign in "_-") for sign in wanted) and len(wanted) <= 128:
        return RedirectResponse(f"{PREFIX}/trainings?model={wanted}", 303)
    return desk.page(request, operator, "search.html", status=404 if wanted else 200, wanted=wanted[:100])


async def _place_of(desk: Desk, wanted: str) -> str | None:
    """The page of what has this id."""

    def read(unit: UnitOfWork) -> str | None:
        match wanted[:3]:
            case "trn" if unit.overview.training(wanted):
                return f"{PREFIX}/trainings/{wanted}"
            case "dlv" if unit.overview.delivery(wanted):
                return f"{PREFIX}/deliveries/{wanted}"
            case "whe" if unit.overview.endpoint(wanted):
                return f"{PREFIX}/endpoints/{wanted}"
            case "evt":
                return _place_of_event(unit, wanted)
            case _:
                return None

    return await desk.parts.database.read(read)


def _place_of_event(unit: UnitOfWork, wanted: str) -> str | None:
    event = unit.overview.event(wanted)
    if event is None:
        return None
    sent = unit.overview.deliveries_of_event(wanted)
    if len(sent) == 1:
        return f"{PREFIX}/deliveries/{sent[0].id}"
    return f"{PREFIX}/trainings/{event.training_id}" if event.training_id else None


def _sendings(unit: UnitOfWork, rows: Sequence[Delivery], now: Any, steps: int) -> list[Sending]:
    attempts = unit.overview.attempts_of([row.id for row in rows])
    named = {row.endpoint_id for row in rows if row.endpoint_id}
    endpoints = {row.id: row for row in (unit.overview.endpoint(endpoint_id) for endpoint_id in named) if row}
    models = unit.overview.models_of(sorted({row.training_id for row in rows if row.training_id}))
    return sendings(rows, attempts, unit.deliveries.urls(rows), endpoints, models=models, now=now, steps=steps)


def _id(text: str, kind: str) -> str:
    """Raises NotFound for what no row is called."""
    if not looks_like_id(text):
        raise NotFound(f"There is no such {kind}.")
    return text
