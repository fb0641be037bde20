"""`/livez` and `/readyz`, on the API's port and on the health port. Neither ever calls PhotoGPT or a receiver."""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.responses import JSONResponse

from service.api.dependencies import Parts
from service.lifecycle import State

router = APIRouter(tags=["Health"])


@router.get("/livez", summary="Whether the process works", responses={503: {"description": "A restart would help."}})
async def livez(parts: Parts) -> Response:
    stalled = parts.lifecycle.stalled()
    return JSONResponse({"status": "stalled" if stalled else "alive", "stalled": stalled}, 503 if stalled else 200)


@router.get(
    "/readyz",
    summary="Whether requests are served",
    description="`status` is `ready`, `draining`, `storage_unavailable`, `stalled` or `behind`; the rest are the "
    "figures behind it, in seconds.",
    responses={503: {"description": "Not now."}},
)
async def readyz(parts: Parts) -> Response:
    readiness = parts.lifecycle.readiness()
    return JSONResponse(readiness, 200 if readiness["status"] == State.READY else 503)
