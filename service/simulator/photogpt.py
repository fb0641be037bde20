"""Puts the simulated PhotoGPT together: its own routes under `/api`, the control interface under `/_control`."""

from __future__ import annotations

from random import Random

from fastapi import FastAPI
from starlette.types import Scope

from service.simulator.api import PREFIX, PhotoGPTApi
from service.simulator.calls import CallLog
from service.simulator.catalogue import Catalogue
from service.simulator.clock import Clock, SimulatedClock
from service.simulator.control import control_routes
from service.simulator.faults import FaultableApp, FaultBook, FaultPlan
from service.simulator.options import PhotoGPTOptions

__all__ = ["PhotoGPTOptions", "create_photogpt"]


def create_photogpt(options: PhotoGPTOptions, clock: Clock) -> FastAPI:
    """A PhotoGPT on a real clock; the time inside it is that clock's, `options.speed` times as fast."""
    simulated = SimulatedClock(clock, options.speed)
    catalogue = Catalogue(options, simulated, Random(options.seed))
    calls = CallLog(simulated)
    plan = FaultPlan(FaultBook(), clock, Random(options.seed), subject=_path, arrived=calls.arrived)
    app = FaultableApp(plan, PhotoGPTApi(catalogue, simulated, options.keys).routes())
    app.include_router(control_routes(catalogue, calls))
    return app


def _path(scope: Scope) -> str | None:
    path: str = scope["path"]
    return path.removeprefix(PREFIX) if path.startswith(PREFIX + "/") else None
