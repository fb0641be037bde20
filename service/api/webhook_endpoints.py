"""`/v1/webhook-endpoints`: lasting subscriptions, their secrets, tests, and what failed at one sent again."""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.responses import JSONResponse

from service.api.dependencies import Authenticated, IdempotencyKey, Paging, Parts, page_of
from service.api.endpoint_schemas import (
    EndpointChangeIn,
    EndpointIn,
    EndpointRotateIn,
    EndpointSecretOut,
    RecoverIn,
    RecoveryCountOut,
    RecoveryOut,
    TrialOut,
    UrlTestIn,
)
from service.api.responses import problems
from service.api.schemas import EndpointOut, Page
from service.domain.errors import NotFound
from service.domain.ids import looks_like_id
from service.domain.subscription import check_secret, checked_headers
from service.storage.database import UnitOfWork
from service.webhooks.once import OnceKey
from service.webhooks.request import overlap
from service.webhooks.resource import endpoint_resource, recovery_resource

router = APIRouter(prefix="/v1/webhook-endpoints", tags=["Webhook endpoints"])

_NO_STORE = {"cache-control": "no-store"}


@router.post(
    "",
    status_code=201,
    response_model=EndpointSecretOut,
    summary="Subscribe a webhook endpoint",
    description="It hears of every training of yours from now on. Its secret is shown once, here.",
    responses=problems(400, 401, 403, 408, 409, 413, 415, 422, 429, 503),
)
async def create_endpoint(body: EndpointIn, parts: Parts, caller: Authenticated, key: IdempotencyKey) -> Response:
    given = body.model_dump(exclude_unset=True)
    made = await parts.webhooks.endpoints.create(caller, given, OnceKey.of(key, "webhook-endpoints", given))
    return JSONResponse(made, 201, {"location": made["urls"]["self"], **_NO_STORE})


@router.get(
    "",
    response_model=Page[EndpointOut],
    summary="List webhook endpoints, newest first",
    responses=problems(401, 422, 429, 503),
)
async def list_endpoints(parts: Parts, caller: Authenticated, page: Paging) -> Response:
    rows = await parts.database.read(
        lambda unit: unit.endpoints.page(caller.tenant_id, before=page.before, limit=page.limit + 1)
    )
    return JSONResponse(page_of(rows, page, endpoint_resource))


@router.get(
    "/{endpoint_id}",
    response_model=EndpointOut,
    summary="Read a webhook endpoint",
    responses=problems(401, 404, 429, 503),
)
async def get_endpoint(endpoint_id: str, parts: Parts, caller: Authenticated) -> Response:
    _check_id(endpoint_id)
    row = await parts.database.read(lambda unit: unit.endpoints.get(caller.tenant_id, endpoint_id))
    if row is None:
        raise _absent()
    return JSONResponse(endpoint_resource(row))


@router.patch(
    "/{endpoint_id}",
    response_model=EndpointOut,
    summary="Change, pause or resume a webhook endpoint",
    description="Only the fields that are sent change. While it is paused its events wait, and are sent when it is "
    "active again. One that was disabled is active again, too; send what failed meanwhile with `recover`.",
    responses=problems(400, 401, 404, 408, 413, 415, 422, 429, 503),
)
async def change_endpoint(endpoint_id: str, body: EndpointChangeIn, parts: Parts, caller: Authenticated) -> Response:
    _check_id(endpoint_id)
    return JSONResponse(await parts.webhooks.endpoints.change(caller, endpoint_id, body.model_dump(exclude_unset=True)))


@router.delete(
    "/{endpoint_id}",
    status_code=204,
    summary="Delete a webhook endpoint",
    description="Nothing more is sent there, what waits included. Its deliveries stay listed.",
    responses=problems(401, 404, 429, 503),
)
async def delete_endpoint(endpoint_id: str, parts: Parts, caller: Authenticated) -> Response:
    _check_id(endpoint_id)
    await parts.webhooks.endpoints.delete(caller, endpoint_id)
    return Response(status_code=204)


@router.post(
    "/{endpoint_id}/rotate-secret",
    response_model=EndpointSecretOut,
    summary="Give a webhook endpoint a new secret",
    description="Both secrets sign for `overlap_hours`, so that the receiver can change over without a refusal.",
    responses=problems(400, 401, 404, 408, 413, 415, 422, 429, 503),
)
async def rotate_endpoint_secret(
    endpoint_id: str, parts: Parts, caller: Authenticated, body: EndpointRotateIn | None = None
) -> Response:
    _check_id(endpoint_id)
    asked = body or EndpointRotateIn()
    if asked.secret is not None:
        check_secret(asked.secret, pointer="/secret")
    rotated = await parts.webhooks.endpoints.rotate(caller, endpoint_id, asked.secret, overlap(asked.overlap_hours))
    return JSONResponse(rotated, headers=_NO_STORE)


@router.post(
    "/{endpoint_id}/test",
    response_model=TrialOut,
    summary="Send a test event to a webhook endpoint",
    description="One `webhook.test` event by the same path as any other, now; the answer says what came of it.",
    responses=problems(401, 404, 429, 503),
)
async def send_test_event(endpoint_id: str, parts: Parts, caller: Authenticated) -> Response:
    _check_id(endpoint_id)
    return JSONResponse(await parts.webhooks.trial.endpoint(caller, endpoint_id))


@router.post(
    "/test",
    response_model=TrialOut,
    summary="Send a test event to a URL",
    description="As a callback there would be sent, before any money is spent on a training.",
    responses=problems(400, 401, 403, 408, 413, 415, 422, 429, 503),
)
async def send_test_event_to_url(body: UrlTestIn, parts: Parts, caller: Authenticated) -> Response:
    url = parts.guard.canonical(body.url, "/url")
    if body.secret is not None:
        check_secret(body.secret, pointer="/secret")
    headers = checked_headers(body.headers, pointer="/headers")
    # Also for a secret that is given: whom we call a URL for is who PhotoGPT knows.
    secret = await parts.tenancy.signing_secret(caller)
    await parts.guard.check(url, "/url")
    return JSONResponse(await parts.webhooks.trial.url(caller, url, body.secret or secret, headers))


@router.post(
    "/{endpoint_id}/recover",
    status_code=202,
    response_model=RecoveryOut,
    summary="Send again what failed",
    description="A job: what was given up, or waits for its next attempt, is sent again, with the same `webhook-id`. "
    "With `dry_run` it is only counted.",
    responses=problems(
        *(400, 401, 404, 408, 409, 413, 415, 422, 429, 503),
        others={200: {"model": RecoveryCountOut, "description": "Counted, nothing else."}},
    ),
)
async def recover(
    endpoint_id: str, body: RecoverIn, parts: Parts, caller: Authenticated, key: IdempotencyKey
) -> Response:
    _check_id(endpoint_id)
    if body.dry_run:
        return JSONResponse(
            {"total": await parts.webhooks.recoveries.count(caller, endpoint_id, body.since, body.until)}
        )
    once = OnceKey.of(key, f"recover/{endpoint_id}", body.model_dump(exclude_unset=True))
    job = recovery_resource(await parts.webhooks.recoveries.start(caller, endpoint_id, body.since, body.until, once))
    return JSONResponse(job, 202, {"location": job["urls"]["self"]})


@router.get(
    "/{endpoint_id}/recoveries/{recovery_id}",
    response_model=RecoveryOut,
    summary="Read a recovery",
    responses=problems(401, 404, 429, 503),
)
async def get_recovery(endpoint_id: str, recovery_id: str, parts: Parts, caller: Authenticated) -> Response:
    def read(unit: UnitOfWork) -> dict[str, object]:
        row = None
        if looks_like_id(endpoint_id) and looks_like_id(recovery_id):
            row = unit.endpoints.recovery(caller.tenant_id, endpoint_id, recovery_id)
        if row is None:
            raise NotFound("There is no such recovery.")
        return recovery_resource(row)

    return JSONResponse(await parts.database.read(read))


def _check_id(endpoint_id: str) -> None:
    if not looks_like_id(endpoint_id):
        raise _absent()


def _absent() -> NotFound:
    return NotFound("There is no such webhook endpoint.")
