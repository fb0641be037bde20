"""Services of another folder that do the same job: a yardstick without product features, and peers on job queues.

The folder says how they are started (its harness/adapters.py); here are the few that the goals name. Peers need
packages of their own, so they may be started by another interpreter, and a Redis or PostgreSQL (`bench.servers`).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.http_client import Call
from bench.processes import Command
from bench.servers import Server
from bench.targets import Place, Watched

_UVICORN = ("-m", "uvicorn")
_WORKER = ("-m", "celery", "-A", "celery_app", "worker", "--concurrency", "2", "--loglevel", "WARNING")


@dataclass(frozen=True, slots=True)
class Beside:
    """`python`: the interpreter that has their packages. `servers`: those that run, by their names."""

    folder: Path
    python: str = sys.executable
    servers: Mapping[str, Server] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Yardstick:
    """`starts`: the arguments of each of its processes; `first`: what is run to its end before; `preload`: what stores
    watched models; `server`: what works for it.
    """

    name: str
    beside: Beside
    app: str
    starts: Sequence[Sequence[str]] = ()
    first: Sequence[str] = ()
    preload: str = ""
    client: str = ""
    server: str = ""
    ready_path: str = "/health"

    @property
    def also(self) -> Sequence[int]:
        return [self.beside.servers[self.server].pid] if self.server else []

    def commands(self, place: Place) -> Sequence[Command]:
        folder, app = self.app.split("/")
        serve = (*_UVICORN, app, "--app-dir", str(self.beside.folder / folder), "--port", str(place.port))
        quiet = ("--no-access-log", "--log-level", "warning")
        environment = self._environment(place)
        return [
            Command([self.beside.python, *arguments], environment)
            for arguments in ([*serve, *quiet], *[self._found(start) for start in self.starts])
        ]

    async def prepare(self, place: Place, watched: Watched | None) -> None:
        if self.first:
            await self._run(place, self._found(self.first))
        if watched is not None and watched.count:
            if not self.preload:
                raise NotImplementedError(f"{self.name} is not measured with models that it already watches.")
            hook = place.callback_url("", watched.hosts[0] if watched.hosts else "127.0.0.1")
            await self._run(place, [str(self.beside.folder / self.preload), str(watched.count), hook])

    def train(self, place: Place, model_id: str, callback_url: str) -> Call:
        del place
        body = json.dumps({"model_id": model_id, "callback_url": callback_url}).encode()
        return Call("POST", "/train", {"content-type": "application/json"}, body)

    async def _run(self, place: Place, arguments: Sequence[str]) -> None:
        process = await asyncio.create_subprocess_exec(
            self.beside.python, *arguments, env=self._environment(place), cwd=place.folder
        )
        if await process.wait():
            raise RuntimeError(f"{self.name} could not be prepared.")

    def _found(self, arguments: Sequence[str]) -> list[str]:
        return [str(self.beside.folder / one) if one.endswith(".py") else one for one in arguments]

    def _environment(self, place: Place) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(self.beside.folder / "peers"),
            "PHOTOGPT_BASE": place.photogpt,
            "PHOTOGPT_KEY": "pgpt-bench",
            "WEBHOOK_SECRET": "secret",
            "POLL_SECONDS": str(place.poll_interval),
            "DB": str(place.folder / "floor.db"),
            "CLIENT": self.client,
            "CONC": str(place.polls_in_flight),
            **{f"{name.upper()}_URL": server.url for name, server in self.beside.servers.items()},
        }


# Which of them needs which server.
NEEDS = {"celery": "redis", "procrastinate": "database"}


def yardsticks(beside: Beside) -> list[Yardstick]:
    return [
        *[
            Yardstick(f"floor-{client}", beside, "floor/service:app", preload="floor/preload.py", client=client)
            for client in ("aiohttp", "pyreqwest", "none")
        ],
        Yardstick(
            "celery",
            beside,
            "peers/celery_app:api",
            starts=[_WORKER],
            first=["peers/celery_app.py", "purge"],
            server=NEEDS["celery"],
        ),
        Yardstick(
            "procrastinate",
            beside,
            "peers/procrastinate_app:api",
            starts=[["peers/procrastinate_app.py", "worker"]] * 2,
            first=["peers/procrastinate_app.py", "setup"],
            server=NEEDS["procrastinate"],
        ),
    ]
