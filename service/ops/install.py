"""Puts the pages into the application."""

from __future__ import annotations

import random

from fastapi import FastAPI
from starlette.types import ASGIApp

from service.components import Components
from service.domain.secret import Secret
from service.ops import actions, door, live, pages
from service.ops.desk import Desk
from service.ops.explained import Explained
from service.ops.overview import Glance
from service.ops.sessions import Sessions


def install(application: FastAPI, app: ASGIApp, components: Components, rng: random.Random) -> ASGIApp:
    """The routes; what is returned explains `app`, which answers them and all others. `rng`: strong."""
    token = components.settings.admin_token
    secret = Secret(token.get_secret_value()) if token else None
    application.state.ops = Desk(components, Sessions(secret, components.clock, rng), Glance(components))
    # In this order: an action is whatever has three parts.
    for module in (door, live, pages, actions):
        application.include_router(module.router)
    return Explained(app)
