"""What is measured. A workload runs one target once and gives rows; rounds and targets take turns elsewhere."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from bench.figures import Row
from bench.targets import Target
from bench.world import World


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of it. What a workload does not name, it does not use."""

    seconds: float = 5.0
    in_flight: Sequence[int] = (1, 16, 64)
    poll_interval: float = 1.0
    readings: int = 2
    watched: Sequence[int] = (100_000,)
    latency: float = 0.0
    hosts: int = 1
    count: int = 10_000
    rate: float = 200.0
    settings: dict[str, str] = field(default_factory=dict)


Workload = Callable[[World, Target, Sizes], Awaitable[list[Row]]]

# Where many models of one key are watched: else one list would stand for all polls, and there would be none to measure.
ONE_BY_ONE = {"GATEWAY_SWEEP": "false"}


def when_ready(count: int) -> float:
    """The time at which so many rows are long stored, and the service that is then started is ready."""
    return time.time() + 10.0 + count / 20_000
