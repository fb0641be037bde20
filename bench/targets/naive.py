"""The naive service, as an integrator would start it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from bench.http_client import Call
from bench.processes import Command, python
from bench.targets import Place, Watched

_PROJECT = Path(__file__).parents[2]


class Naive:
    name = "naive"
    ready_path = "/health"
    also: Sequence[int] = ()

    def commands(self, place: Place) -> Sequence[Command]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(_PROJECT),
            "PHOTOGPT_BASE_URL": place.photogpt,
            "PHOTOGPT_API_KEY": "pgpt-bench",
            "DATABASE_URL": f"sqlite:///{place.folder / 'naive.db'}",
            "POLL_SECONDS": str(place.poll_interval),
            "PORT": str(place.port),
        }
        return [Command(python("-m", "bench.naive_service"), environment)]

    async def prepare(self, place: Place, watched: Watched | None) -> None:
        del place
        if watched is not None and watched.count:
            raise NotImplementedError("The naive service is not measured with models that it already watches.")

    def train(self, place: Place, model_id: str, callback_url: str) -> Call:
        del place
        body = json.dumps({"model_id": model_id, "callback_url": callback_url}).encode()
        return Call("POST", "/train", {"content-type": "application/json"}, body)
