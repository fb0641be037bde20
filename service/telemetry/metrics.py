"""Every metric, by name: what Prometheus reads at `/metrics`. The only user of its client library.

They are counted in memory, so that a scrape costs the same however many rows there are.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest

from service.domain.calls import CallKind

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Of one gateway, so that two in one process do not count together."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._calls = Counter(
            "photogpt_webhooks_upstream_calls",
            "Calls made to PhotoGPT, by what they were for; passed_on are callers' own, through /api.",
            ["kind"],
            registry=self._registry,
        )
        self._loop_calls = Counter(
            "photogpt_webhooks_loop_calls",
            "Calls that a polling loop for each ended training would have made: one an interval, until its end.",
            registry=self._registry,
        )
        for kind in CallKind:
            self._calls.labels(kind)  # a series that is there from the start has a rate from its first call on

    def called(self, kind: CallKind) -> None:
        self._calls.labels(kind).inc()

    def spared(self, loop_calls: int) -> None:
        self._loop_calls.inc(loop_calls)

    def exposition(self) -> bytes:
        return generate_latest(self._registry)
