"""Puts the simulated PhotoGPT together: its own routes under `/api`, the files that these name under `/media`, the
control interface under `/_control`.
"""

from __future__ import annotations

from random import Random

from fastapi import FastAPI
from starlette.types import Scope

from service.simulator.accounts import Accounts
from service.simulator.calls import CallLog
from service.simulator.catalogue import Catalogue
from service.simulator.clock import Clock, SimulatedClock
from service.simulator.control import control_routes
from service.simulator.door import PREFIX, Door
from service.simulator.faults import FaultableApp, FaultBook, FaultPlan
from service.simulator.files import file_routes
from service.simulator.gallery import Gallery
from service.simulator.models_api import ModelsApi
from service.simulator.options import PhotoGPTOptions
from service.simulator.studio import Studio
from service.simulator.studio_api import StudioApi

__all__ = ["PhotoGPTOptions", "create_photogpt"]


def create_photogpt(options: PhotoGPTOptions, clock: Clock) -> FastAPI:
    """A PhotoGPT on a real clock; the time inside it is that clock's, `options.speed` times as fast."""
    simulated, accounts, random = SimulatedClock(clock, options.speed), Accounts(), Random(options.seed)
    catalogue = Catalogue(options, accounts, simulated, random)
    gallery, studio = Gallery(accounts, simulated, random), Studio(accounts, simulated, random)
    calls, door = CallLog(simulated), Door(options.keys)
    routes = ModelsApi(catalogue, gallery).routes(door) + StudioApi(studio, gallery, simulated).routes(door)
    plan = FaultPlan(FaultBook(), clock, Random(options.seed), subject=_path, arrived=calls.arrived)
    app = FaultableApp(plan, routes + file_routes(gallery))
    app.include_router(control_routes(catalogue, studio, calls))
    return app


def _path(scope: Scope) -> str | None:
    path: str = scope["path"]
    return path.removeprefix(PREFIX) if path.startswith(PREFIX + "/") else None
