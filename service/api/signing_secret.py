"""`/v1/signing-secret`: what a receiver verifies callbacks with that were given without a secret of their own."""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.responses import JSONResponse

from service.api.dependencies import Authenticated, Parts
from service.api.responses import problems
from service.api.schemas import SigningSecretOut

router = APIRouter(prefix="/v1/signing-secret", tags=["Signing"])


@router.get(
    "",
    response_model=SigningSecretOut,
    summary="Read your signing secret",
    description="Made at the first request for it. Verify with any Standard Webhooks library.",
    responses=problems(401, 403, 429, 503),
)
async def get_signing_secret(parts: Parts, caller: Authenticated) -> Response:
    return JSONResponse({"secret": await parts.tenancy.signing_secret(caller)}, headers={"cache-control": "no-store"})
