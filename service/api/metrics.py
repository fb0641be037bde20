"""`/metrics`, on the health port alone: what it says is for those who run the gateway, and costs no query."""

from __future__ import annotations

from fastapi import APIRouter, Response

from service.api.dependencies import Parts
from service.telemetry.metrics import CONTENT_TYPE

router = APIRouter()


@router.get("/metrics")
async def metrics(parts: Parts) -> Response:
    return Response(parts.metrics.exposition(), headers={"content-type": CONTENT_TYPE})
