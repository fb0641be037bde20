"""`/v1/account`: what is kept for the caller, how much is under way, and how much may be."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from service.api.dependencies import Authenticated, Parts
from service.api.responses import problems
from service.storage.database import UnitOfWork

router = APIRouter(prefix="/v1/account", tags=["Account"])


class LimitsOut(BaseModel):
    active_trainings: int | None = Field(description="At a time; null: any number, as for the others.")
    webhook_endpoints: int
    requests_per_second: float | None = Field(description="On average; a few more at once are let through.")
    deliveries_in_flight: int | None = Field(description="Attempts to your receivers at a time, test events included.")


class AccountOut(BaseModel):
    key_stored: bool = Field(
        description="Whether your PhotoGPT key is kept, encrypted: only while a training is active."
    )
    active_trainings: int
    webhook_endpoints: int
    limits: LimitsOut


@router.get(
    "",
    response_model=AccountOut,
    summary="Read what is kept for you, and your limits",
    responses=problems(401, 429, 503),
)
async def get_account(parts: Parts, caller: Authenticated) -> Response:
    def read(unit: UnitOfWork) -> dict[str, Any]:
        tenant = unit.tenants.get(caller.tenant_id)
        return {
            "key_stored": tenant is not None and tenant.sealed_key is not None,
            "active_trainings": unit.trainings.count_active(caller.tenant_id),
            "webhook_endpoints": unit.endpoints.count(caller.tenant_id),
        }

    limits = {
        "active_trainings": parts.tenancy.limits.trainings,
        "webhook_endpoints": parts.tenancy.limits.endpoints,
        "requests_per_second": parts.tenancy.limits.requests_per_second,
        "deliveries_in_flight": parts.tenancy.limits.deliveries,
    }
    return JSONResponse({**await parts.database.read(read), "limits": limits})
