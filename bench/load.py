"""Train requests in a closed loop: so many in flight, each followed by the next, until the time is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.world import Service

_ACCEPTED = frozenset({200, 201, 202})


@dataclass(slots=True)
class Load:
    """What came of it: the latency of each accepted request in seconds, and how many were not."""

    latencies: list[float] = field(default_factory=list)
    failed: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0.0


async def train_for(
    service: Service, *, seconds: float, in_flight: int, hosts: Sequence[str], name: str, most: int | None = None
) -> Load:
    """`most`: end after so many requests, if that is sooner. Each is for a model of its own."""
    load = Load()
    began = time.perf_counter()
    numbers = iter(range(10**9 if most is None else most))

    async def one_after_the_other() -> None:
        while time.perf_counter() < began + seconds:
            number = next(numbers, None)
            if number is None:
                return
            call = service.call(f"{name}-{number}", hosts[number % len(hosts)])
            asked = time.perf_counter()
            try:
                status = (await service.client.send(call)).status
            except (OSError, TimeoutError):
                status = 0
            if status in _ACCEPTED:
                load.latencies.append(time.perf_counter() - asked)
            else:
                load.failed += 1

    await asyncio.gather(*[one_after_the_other() for _ in range(in_flight)])
    load.seconds = time.perf_counter() - began
    return load
