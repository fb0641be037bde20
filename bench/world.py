"""The world around a measured service: the fakes in a process of their own, a folder, ports, and the cores to use."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.fakes.__main__ import receiver_hosts
from bench.http_client import Client
from bench.processes import Tree, free_port, python
from bench.ready import wait_ready
from bench.targets import Place, Target, Watched

_PROJECT = Path(__file__).parents[1]
_RECEIVERS = 250
_LOG_SHOWN = 3000


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores the service has, and which the fakes and the driver; none: all of them, for everybody."""

    service: Sequence[int] = ()
    driver: Sequence[int] = ()


@dataclass(slots=True)
class Service:
    """A service that runs and is ready. `ready_seconds`: how long it took from its start."""

    target: Target
    place: Place
    tree: Tree
    client: Client
    ready_seconds: float

    def call(self, model_id: str, host: str) -> Any:
        return self.target.train(self.place, model_id, self.place.callback_url(model_id, host))


class World:
    def __init__(self, ports: dict[str, int], folder: Path, cores: Cores) -> None:
        self._control = Client("127.0.0.1", ports["control"])
        self._ports = ports
        self._folder = folder
        self._cores = cores
        self._places = 0

    @staticmethod
    def hosts(count: int) -> list[str]:
        """Addresses of distinct receivers."""
        if count > _RECEIVERS:
            raise ValueError(f"There are {_RECEIVERS} receivers.")
        return receiver_hosts(count)

    def place(
        self, *, poll_interval: float, polls_in_flight: int = 64, settings: Mapping[str, str] | None = None
    ) -> Place:
        self._places += 1
        folder = self._folder / str(self._places)
        folder.mkdir()
        return Place(
            folder=folder,
            port=free_port(),
            photogpt=f"http://127.0.0.1:{self._ports['photogpt']}/api",
            receiver_port=self._ports["receiver"],
            poll_interval=poll_interval,
            polls_in_flight=polls_in_flight,
            settings=settings or {},
        )

    async def reset(self, photogpt: dict[str, Any] | None = None, receiver: dict[str, Any] | None = None) -> None:
        """Forget all calls and webhooks; behave so from now on."""
        await self._control.json("POST", "/reset", {"photogpt": photogpt or {}, "receiver": receiver or {}})

    async def counts(self) -> dict[str, Any]:
        counts: dict[str, Any] = await self._control.json("GET", "/counts")
        return counts

    async def readings(self) -> int:
        """How many readings of single models there were; cheap, however many models there are."""
        readings: int = await self._control.json("GET", "/readings")
        return readings

    async def said_ready(self) -> dict[str, float]:
        """When PhotoGPT first showed each model as ready."""
        moments: dict[str, float] = await self._control.json("GET", "/said-ready")
        return moments

    async def receipts(self) -> list[tuple[str, str, str, float]]:
        """Of each webhook: its id, the model, the host it came to, and when."""
        return [tuple(receipt) for receipt in await self._control.json("GET", "/receipts")]

    @asynccontextmanager
    async def running(self, target: Target, place: Place, watched: Watched | None = None) -> AsyncIterator[Service]:
        """The service, prepared, started and ready; killed and swept away at the end."""
        try:
            await target.prepare(place, watched)
            async with self.started(target, place) as service:
                yield service
        finally:
            shutil.rmtree(place.folder, ignore_errors=True)

    @asynccontextmanager
    async def started(self, target: Target, place: Place) -> AsyncIterator[Service]:
        """As it was prepared or left in its place."""
        tree = Tree(target.commands(place), place.folder, cpus=self._cores.service, also=target.also)
        client = Client("127.0.0.1", place.port)
        try:
            ready = await wait_ready(client, target.ready_path, tree)
            yield Service(target, place, tree, client, ready)
        except BaseException:
            sys.stderr.write((place.folder / "log").read_text(errors="replace")[-_LOG_SHOWN:])
            raise
        finally:
            client.close()
            tree.close()


@asynccontextmanager
async def world(cores: Cores) -> AsyncIterator[World]:
    if cores.driver:
        os.sched_setaffinity(0, cores.driver)
    environment = {**os.environ, "PYTHONPATH": str(_PROJECT)}
    command = python("-m", "bench.fakes", "--receivers", str(_RECEIVERS))
    fakes = await asyncio.create_subprocess_exec(
        *command, env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        if fakes.stdout is None:
            raise RuntimeError("The fakes have no output.")
        ports = json.loads(await fakes.stdout.readline())
        with tempfile.TemporaryDirectory(prefix="photogpt-bench-") as folder:
            yield World(ports, Path(folder), cores)
    finally:
        fakes.kill()
        await fakes.wait()
