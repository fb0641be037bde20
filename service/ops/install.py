"""Puts the pages into the application, where the settings want them."""

from __future__ import annotations

import random

from fastapi import FastAPI

from service.components import Components
from service.domain.secret import Secret
from service.ops import actions, door, live, pages
from service.ops.desk import Desk
from service.ops.explained import Explained
from service.ops.overview import Glance
from service.ops.sessions import Sessions


def install(app: FastAPI, components: Components, rng: random.Random) -> None:
    """The routes, and last of all middleware the one that explains. `rng`: strong."""
    token = components.settings.admin_token
    secret = Secret(token.get_secret_value()) if token else None
    app.state.ops = Desk(components, Sessions(secret, components.clock, rng), Glance(components))
    # In this order: an action is whatever has three parts.
    for module in (door, live, pages, actions):
        app.include_router(module.router)
    app.add_middleware(Explained)
