"""`/v1/signing-secret`: what a receiver verifies callbacks with that were given without a secret of their own."""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.responses import JSONResponse

from service.api.dependencies import Authenticated, Parts
from service.api.responses import problems
from service.api.schemas import RotatedOut, RotateIn, SigningSecretOut
from service.domain.event import rfc3339
from service.webhooks.request import overlap

router = APIRouter(prefix="/v1/signing-secret", tags=["Signing"])

_NO_STORE = {"cache-control": "no-store"}


@router.get(
    "",
    response_model=SigningSecretOut,
    summary="Read your signing secret",
    description="Made at the first request for it. Verify with any Standard Webhooks library.",
    responses=problems(401, 403, 429, 503),
)
async def get_signing_secret(parts: Parts, caller: Authenticated) -> Response:
    return JSONResponse({"secret": await parts.tenancy.signing_secret(caller)}, headers=_NO_STORE)


@router.post(
    "/rotate",
    response_model=RotatedOut,
    summary="Make a new signing secret",
    description="Both secrets sign for `overlap_hours`, so that receivers can change over without a refusal.",
    responses=problems(400, 401, 403, 408, 413, 415, 422, 429, 503),
)
async def rotate_signing_secret(parts: Parts, caller: Authenticated, body: RotateIn | None = None) -> Response:
    secret, until = await parts.tenancy.rotate_signing_secret(caller, overlap(body.overlap_hours if body else None))
    rotated = {"secret": secret, "previous_secret_until": None if until is None else rfc3339(until)}
    return JSONResponse(rotated, headers=_NO_STORE)
