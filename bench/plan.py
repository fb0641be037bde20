"""What one call runs: each workload with its targets, sizes and rounds. `short` is what `make bench` does; `full`
measures every speed and size of the design.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.workloads import Sizes, Workload
from bench.workloads.delivering import deliveries, hanging, latency
from bench.workloads.growing import growth
from bench.workloads.trainings import calls, complete, ingest
from bench.workloads.watching import memory, polls, restart

WORKLOADS: dict[str, Workload] = {
    "ingest": ingest,
    "complete": complete,
    "polls": polls,
    "growth": growth,
    "deliveries": deliveries,
    "latency": latency,
    "hanging": hanging,
    "restart": restart,
    "memory": memory,
    "calls": calls,
}
MEANINGS = {
    "ingest": "train requests/s and their latency, the upstream call included",
    "complete": "trainings from request to webhook, polled so often as --readings says",
    "polls": "steady polling of --watched models, one by one",
    "growth": "what a poll and a claim cost by number of --watched models, at --rate polls a second",
    "deliveries": "webhooks to distinct origins, a connection each, beside a bare loop over aiohttp",
    "latency": "from an event to the begin of its first attempt and to its arrival, at --rate events/s",
    "hanging": "the same with none and with a tenth of the receivers hanging",
    "restart": "ready again after kill -9 with --watched models overdue",
    "memory": "PSS by number of watched models",
    "calls": "calls to PhotoGPT for 100 trainings of one key, in a hundredth of their time",
}
# Those that look into the gateway's own tables, or ask of it what no other does.
GATEWAY_ONLY = frozenset({"growth", "deliveries", "hanging", "restart", "memory"})
_MILLION = 1_000_000
SIZES = {
    "ingest": Sizes(seconds=3),
    "complete": Sizes(seconds=6, in_flight=(64,)),
    "polls": Sizes(seconds=20, poll_interval=60),
    "growth": Sizes(seconds=20, watched=(1_000, 10_000, 100_000, _MILLION), rate=500),
    "deliveries": Sizes(count=20_000, hosts=249),
    "latency": Sizes(count=4_000, hosts=100),
    "hanging": Sizes(count=4_000, hosts=100),
    "restart": Sizes(watched=(0, 100_000), poll_interval=300),
    "memory": Sizes(watched=(0, 1_000, 10_000, 100_000), seconds=15, poll_interval=300),
    "calls": Sizes(),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One workload, at each of `sizes` in every round. `beside`: what takes turns with the gateway, if it is there."""

    workload: str
    sizes: Sequence[Sizes]
    rounds: int
    beside: Sequence[str] = ()

    def with_settings(self, settings: dict[str, str]) -> Step:
        return replace(self, sizes=[replace(one, settings=settings) for one in self.sizes])


_FLOOR = "floor-aiohttp"
SHORT: Sequence[Step] = (
    Step("ingest", [Sizes(seconds=2, in_flight=(1, 64))], 2, ["naive", _FLOOR]),
    Step("complete", [Sizes(seconds=3, in_flight=(64,))], 2, ["naive", _FLOOR]),
    Step("polls", [Sizes(seconds=10, poll_interval=60, latency=0.2)], 1),
    Step("deliveries", [Sizes(count=5_000, hosts=249)], 1),
    Step("latency", [Sizes(count=1_000, hosts=100)], 1),
    Step("hanging", [Sizes(count=2_000, hosts=100)], 1),
    Step("restart", [Sizes(watched=(0, 100_000), poll_interval=300)], 1),
    Step("memory", [Sizes(watched=(0, 100_000), seconds=10, poll_interval=300)], 1),
    Step("calls", [Sizes()], 1, ["naive"]),
)
_POLLS = (
    Sizes(seconds=30, poll_interval=60, latency=0.2),
    Sizes(seconds=30, poll_interval=60),
    Sizes(seconds=60, poll_interval=300, watched=(_MILLION,)),
)
FULL: Sequence[Step] = (
    Step("ingest", [SIZES["ingest"]], 3, ["naive", _FLOOR]),
    Step("complete", [SIZES["complete"]], 3, ["naive", _FLOOR, "celery", "procrastinate"]),
    Step("polls", _POLLS, 3),
    *(Step(name, [SIZES[name]], 3) for name in ("growth", "deliveries")),
    Step("latency", [SIZES["latency"]], 3, [_FLOOR]),
    *(Step(name, [SIZES[name]], 3) for name in ("hanging", "restart", "memory")),
    Step("calls", [SIZES["calls"]], 3, ["naive"]),
)
PLANS = {"short": SHORT, "full": FULL}
