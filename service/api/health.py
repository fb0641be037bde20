"""`/livez` and `/readyz`, on the API's port and on the health port. Neither ever calls PhotoGPT or a receiver."""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.responses import JSONResponse

from service.api.dependencies import Parts
from service.domain.errors import StorageUnavailable

router = APIRouter(tags=["Health"])


@router.get("/livez", summary="Whether the process works", responses={503: {"description": "A restart would help."}})
async def livez(parts: Parts) -> Response:
    stalled = parts.lifecycle.stalled(parts.loops)
    return JSONResponse({"status": "stalled" if stalled else "alive", "stalled": stalled}, 503 if stalled else 200)


@router.get("/readyz", summary="Whether requests are served", responses={503: {"description": "Not now."}})
async def readyz(parts: Parts) -> Response:
    if parts.lifecycle.draining:
        return JSONResponse({"status": "draining"}, 503)
    try:
        await parts.database.check()
    except StorageUnavailable:
        return JSONResponse({"status": "storage_unavailable"}, 503)
    return JSONResponse({"status": "ready"})
