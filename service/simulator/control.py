"""The control interface of the simulated PhotoGPT: puts models into any state, says what the next job shall
come to, and tells what was asked of it.

No part of PhotoGPT; only tests, the demo and a curious developer use it. Ordering faults is in `faults`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from service.simulator.accounts import NextJob
from service.simulator.calls import CallLog
from service.simulator.catalogue import Catalogue
from service.simulator.envelope import RefusedError
from service.simulator.models import Model, ModelStatus
from service.simulator.studio import Studio


class ModelOrder(BaseModel):
    """What a model shall be like; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(min_length=1)
    status: ModelStatus | None = None
    images: int | None = Field(default=None, ge=0)
    duration_minutes: float | None = Field(default=None, ge=0)
    raw_status: str | None = None
    stale_ready_polls: int = Field(default=0, ge=0)

    def carry_out(self, catalogue: Catalogue, model: Model) -> None:
        if "images" in self.model_fields_set:
            model.pretended_images = self.images
        if "duration_minutes" in self.model_fields_set:
            model.next_minutes = self.duration_minutes
        if "raw_status" in self.model_fields_set:
            model.raw_status = self.raw_status
        if "stale_ready_polls" in self.model_fields_set:
            model.stale_ready_polls = self.stale_ready_polls
        if self.status is not None:
            catalogue.force(model, self.status)


class BulkOrder(ModelOrder):
    prefix: str = Field(min_length=1)
    count: int = Field(ge=1, le=1_000_000)


class JobOrder(BaseModel):
    """What the next generation of a key shall be like: how long it takes in simulated seconds, why it fails."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(min_length=1)
    seconds: float | None = Field(default=None, ge=0)
    error: str = ""


def control_routes(catalogue: Catalogue, studio: Studio, calls: CallLog) -> APIRouter:
    routes = APIRouter(prefix="/_control")

    @routes.put("/models/{model_id}")
    async def put_model(model_id: str, order: ModelOrder) -> dict[str, Any]:
        model = catalogue.place(order.key, model_id)
        order.carry_out(catalogue, model)
        return catalogue.inspect(model)

    @routes.post("/models")
    async def create_models(order: BulkOrder) -> dict[str, int]:
        for number in range(order.count):
            order.carry_out(catalogue, catalogue.place(order.key, f"{order.prefix}-{number:06d}"))
        return {"created": order.count}

    @routes.post("/jobs")
    async def order_job(order: JobOrder) -> dict[str, str]:
        studio.expect(order.key, NextJob(order.seconds, order.error))
        return {"status": "ok"}

    @routes.get("/triggers")
    async def triggers() -> dict[str, int]:
        return catalogue.triggers()

    @routes.get("/calls")
    async def list_calls(
        path: str = ".*", method: str | None = None, limit: Annotated[int, Query(ge=0)] = 1000
    ) -> dict[str, Any]:
        return calls.report(_pattern(path), method, limit)

    @routes.delete("/calls")
    async def forget_calls() -> dict[str, str]:
        calls.forget()
        return {"status": "ok"}

    return routes


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as problem:
        raise RefusedError(400, f"path is no regular expression: {problem}") from None
