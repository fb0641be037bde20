"""Faults on command: the book of those that were ordered, the layer where they strike, the routes that order them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from random import Random

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from service.simulator.clock import Clock
from service.simulator.envelope import RefusedError, nok
from service.simulator.exchange import Exchange, Outcome, Surroundings
from service.simulator.fault_kinds import AnyFault, FaultOrder


@dataclass(slots=True)
class _Armed:
    fault: FaultOrder
    skip: int
    times: int | None


class FaultBook:
    """The ordered faults. The earliest that matches a request, and has no more to skip, strikes and is used up."""

    def __init__(self) -> None:
        self._armed: dict[int, _Armed] = {}
        self._ids = count(1)

    def order(self, fault: FaultOrder) -> int:
        fault_id = next(self._ids)
        self._armed[fault_id] = _Armed(fault, fault.skip, fault.times)
        return fault_id

    def clear(self) -> None:
        self._armed.clear()

    def take(self, method: str, subject: str) -> FaultOrder | None:
        for fault_id, armed in self._armed.items():
            if not armed.fault.strikes(method, subject):
                continue
            if armed.skip > 0:
                armed.skip -= 1
                continue
            if armed.times is not None:
                armed.times -= 1
                if armed.times == 0:
                    del self._armed[fault_id]
            return armed.fault
        return None


@dataclass(frozen=True)
class FaultPlan:
    """How the faults of one application work."""

    book: FaultBook
    clock: Clock
    random: Random
    subject: Callable[[Scope], str | None]
    """What the orders are matched against; None for requests that no fault may touch."""
    arrived: Callable[[Scope, Outcome], None] = lambda _scope, _outcome: None
    """Told of every request that a fault may touch."""
    app_sees_faulted: bool = False
    """Whether the application is given a request also when a fault answers it."""


class FaultLayer:
    def __init__(self, app: ASGIApp, plan: FaultPlan) -> None:
        self._around = Surroundings(app, plan.clock, plan.random)
        self._plan = plan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        subject = self._plan.subject(scope) if scope["type"] == "http" else None
        if subject is None:
            await self._around.app(scope, receive, send)
            return
        outcome = scope["outcome"] = Outcome()
        self._plan.arrived(scope, outcome)
        exchange = Exchange(self._around, scope, receive, send, outcome)
        # A caller that goes away in the middle of its own request is no fault of the application.
        with suppress(ClientDisconnect):
            await self._pass(scope["method"], subject, exchange)

    async def _pass(self, method: str, subject: str, exchange: Exchange) -> None:
        fault = self._plan.book.take(method, subject)
        if fault is None:
            await exchange.forward()
            return
        if self._plan.app_sees_faulted and not fault.lost_on_the_way:
            await exchange.apply()
        await fault.play(exchange)


class FaultableApp(FastAPI):
    """A FastAPI application with the fault layer round everything, FastAPI's own error handling included."""

    def __init__(self, plan: FaultPlan, routes: list[BaseRoute]) -> None:
        super().__init__(
            # With telemetry on, FastAPI stands in front of everything with a `send` of its own: see Exchange.cut.
            telemetry={"tracing": False, "metrics": False, "logs": False},
            openapi_url=None,
            redirect_slashes=False,
            routes=routes,
            exception_handlers={RefusedError: _refused, HTTPException: _not_served},
        )
        self._plan = plan
        self.include_router(_control(plan.book))

    def build_middleware_stack(self) -> ASGIApp:
        return FaultLayer(super().build_middleware_stack(), self._plan)


def _control(book: FaultBook) -> APIRouter:
    routes = APIRouter(prefix="/_control")

    @routes.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @routes.post("/faults")
    async def order_fault(fault: AnyFault) -> dict[str, int]:
        return {"id": book.order(fault)}

    @routes.delete("/faults")
    async def clear_faults() -> dict[str, str]:
        book.clear()
        return {"status": "ok"}

    return routes


async def _refused(_request: Request, refusal: RefusedError) -> Response:
    return nok(refusal.status, refusal.message)


async def _not_served(_request: Request, problem: HTTPException) -> Response:
    return nok(problem.status_code, problem.detail)
