"""Every metric, by name: what Prometheus reads at `/metrics`. The only user of its client library.

What happens is counted in memory where it happens. What is so at the moment is asked for when it is read, of values in
memory (`At`); what only the database knows is put here by the census, at a pace of its own. So a scrape costs the same
however many rows there are, and no label has a value that somebody outside chooses.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import NamedTuple

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.domain.calls import CallKind
from service.domain.delivery import DeliveryStatus, ErrorClass
from service.domain.endpoint import DisabledReason, EndpointStatus
from service.domain.event import EventType
from service.domain.facts import DELIVERED, Fact, Facts, Polled, Swept
from service.domain.training import ACTIVE, TERMINAL

# A series more for each counter, that says when it began; `process_start_time_seconds` says so for all.
disable_created_metrics()  # type: ignore[no-untyped-call]
CONTENT_TYPE = CONTENT_TYPE_LATEST
PREFIX = "photogpt_webhooks_"
# In seconds.
_MOMENTS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WAITS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
_TRAININGS = (300.0, 600.0, 900.0, 1200.0, 1350.0, 1500.0, 1650.0, 1800.0, 2100.0, 2700.0, 3600.0, 7200.0, 86400.0)
_GROUPS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

Values = Mapping[str, float]


class _Described(NamedTuple):
    meaning: str
    label: str | None = None
    family: type[CounterMetricFamily | GaugeMetricFamily] = GaugeMetricFamily


class At(Enum):
    """What is so at the moment of a scrape: each is asked for by then, and must be had without waiting."""

    loop_restarts = _Described("How often each loop had died and was started again.", "loop", CounterMetricFamily)
    loop_in_flight = _Described("What each loop has under way.", "loop")
    loop_idle_seconds = _Described("Since each loop last looked for due rows, in vain or not.", "loop")
    loop_unclaimed_seconds = _Described("Since a claim of each loop last succeeded, or none was needed.", "loop")
    oldest_due_seconds = _Described("How long the oldest due row of each loop waits, by the last heartbeat.", "loop")
    tick_age_seconds = _Described("Since the scheduler last ticked.")
    database_up = _Described("1 while the last heartbeat could be written, and is fresh.")
    heartbeat_age_seconds = _Described("Since the last heartbeat was written.")
    draining = _Described("1 once this process takes nothing new and is about to end.")
    waiting_requests = _Described("Long polls and event streams that are open.")
    upstream_breaker_open = _Described("1 while nobody at PhotoGPT answers, so that it is asked only now and then.")
    receiver_breakers_open = _Described("Hosts of receivers that do not answer, so that they are tried now and then.")
    receiver_hosts = _Described("Hosts of receivers of which something is remembered.")


class Metrics:
    """Of one gateway, so that two in one process do not count together."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._at = _AtScrape()
        self._registry.register(self._at)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._build = Info(f"{PREFIX}build", "What runs here.", registry=self._registry)
        self._first_half()
        self._second_half()
        self._surface()
        self._census()

    # --- what is counted ----------------------------------------------------------------------------------------------

    def _first_half(self) -> None:
        self._calls = self._counters(
            "upstream_calls", "Calls made to PhotoGPT, by what for; passed_on are callers' own.", "kind", CallKind
        )
        self._loop_calls = self._counter(
            "loop_calls",
            "Calls that a polling loop for each ended training would have made: one an interval, until its end.",
        )
        self._polls = self._counters(
            "polls", "Due trainings that were looked at, by what came of it.", "outcome", Polled
        )
        self._sweeps = self._counters("sweeps", "Lists of a key's models, by what came of it.", "outcome", Swept)
        self._poll_lateness = self._histogram(
            "poll_lateness_seconds", "How long a training had been due when it was claimed to be polled.", _WAITS
        )
        self._trained = self._histogram(
            "training_duration_seconds", "From the trigger to the end, as it was seen, of whatever kind.", _TRAININGS
        )
        accepted = self._counter("trainings_accepted", "Train requests that began a training, or a place in a queue.")
        ended = self._counters("trainings_ended", "Trainings that ended, by how.", "status", TERMINAL)
        pauses = self._counter("key_pauses", "Times that PhotoGPT asked a key to wait (429).")
        self._facts = {
            (Fact.TRAINING_ACCEPTED, ""): accepted,
            (Fact.KEY_PAUSED, ""): pauses,
            **{(Fact.TRAINING_ENDED, word): child for word, child in ended.items()},
        }

    def _second_half(self) -> None:
        results = [DELIVERED, *ErrorClass]
        self._attempted = self._histogram("attempt_duration_seconds", "How long one attempt took.", _MOMENTS)
        self._first_attempt = self._histogram(
            "first_attempt_delay_seconds", "From an event to the start of the first attempt of each delivery.", _WAITS
        )
        one_each = {
            Fact.DELIVERY_MADE: ("deliveries_made", "Deliveries that events have made."),
            Fact.TAKEN_OVER: (
                "takeovers",
                "Deliveries taken over from a worker that had begun an attempt and is gone.",
            ),
            Fact.ATTEMPT_OUTDATED: ("attempts_outdated", "Outcomes that came when somebody else had the delivery."),
        }
        by_word: dict[Fact, tuple[str, str, str, Iterable[str]]] = {
            Fact.EVENT: ("events", "Events, by type.", "type", EventType),
            Fact.DELIVERY_ENDED: (
                *("deliveries_ended", "Deliveries that ended, by how; one that is resent ends again.", "status"),
                [DeliveryStatus.DELIVERED, DeliveryStatus.DEAD],
            ),
            Fact.ATTEMPT: ("attempts", "Attempts, by what came of them.", "result", results),
            Fact.ENDPOINT_DISABLED: (
                *("endpoints_disabled", "Webhook endpoints that were disabled, by why.", "reason"),
                DisabledReason,
            ),
        }
        self._facts |= {(fact, ""): self._counter(*named) for fact, named in one_each.items()}
        for fact, named in by_word.items():
            self._facts |= {(fact, word): child for word, child in self._counters(*named).items()}

    def _surface(self) -> None:
        self._requests = Counter(
            f"{PREFIX}http_requests",
            "Requests to the API, by route, method and class of the answer's status.",
            ["route", "method", "status"],
            registry=self._registry,
        )
        self._request_seconds = Histogram(
            f"{PREFIX}http_request_duration_seconds",
            "Until the answer began.",
            ["route"],
            buckets=_MOMENTS,
            registry=self._registry,
        )
        self._answered: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        units = Histogram(
            f"{PREFIX}database_duration_seconds",
            "How long a unit of work took, the wait for its turn and its commit included.",
            ["kind"],
            buckets=_MOMENTS,
            registry=self._registry,
        )
        self._units = {kind: units.labels(kind) for kind in ("read", "write")}
        self._groups = self._histogram(
            "commit_group_size", "Units of work that share a commit; on PostgreSQL, those of one tenant.", _GROUPS
        )

    def _census(self) -> None:
        self._trainings = self._gauges("trainings", "Trainings that have not ended, by status.", "status", ACTIVE)
        self._overdue = self._gauge("trainings_overdue", "Of these, those that take longer than they should.")
        self._suspended = self._gauge("trainings_suspended", "Of these, those whose key PhotoGPT refuses.")
        self._waiting = self._gauges(
            "deliveries_waiting", "Deliveries that are to be attempted: now, or later.", "when", ["now", "later"]
        )
        self._endpoints = self._gauges(
            "webhook_endpoints", "Webhook endpoints there are, by status.", "status", EndpointStatus
        )
        self._census_seconds = self._gauge("census_duration_seconds", "How long the last look at the rows took.")

    # --- what happens -------------------------------------------------------------------------------------------------

    def called(self, kind: CallKind) -> None:
        self._calls[kind].inc()

    def spared(self, loop_calls: int) -> None:
        self._loop_calls.inc(loop_calls)

    def polled(self, outcome: Polled, times: int = 1) -> None:
        self._polls[outcome].inc(times)

    def swept(self, outcome: Swept) -> None:
        self._sweeps[outcome].inc()

    def hear(self, facts: Facts) -> None:
        """What a commit has made true."""
        for (fact, word), times in facts.counts.items():
            self._facts[fact, word].inc(times)
        for histogram, durations in (
            (self._trained, facts.trained_for),
            (self._attempted, facts.attempted_for),
            (self._first_attempt, facts.waited_for),
            (self._poll_lateness, facts.late_by),
        ):
            for duration in durations:
                histogram.observe(max(0.0, duration.total_seconds()))

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """`route` is a template, and `method` one of the few there are."""
        key = (route, method, f"{status // 100}xx")
        children = self._answered.get(key)
        if children is None:
            children = self._answered[key] = self._requests.labels(*key), self._request_seconds.labels(route)
        children[0].inc()
        children[1].observe(seconds)

    def worked(self, kind: str, seconds: float) -> None:
        """A unit of work, `read` or `write`, was done."""
        self._units[kind].observe(seconds)

    def committed(self, group: int) -> None:
        self._groups.observe(group)

    # --- what is so ---------------------------------------------------------------------------------------------------

    def describe(self, **words: str) -> None:
        """What runs here, in words that stay the same as long as it does."""
        self._build.info({"python": ".".join(map(str, sys.version_info[:3])), **words})

    def ask(self, at: At, values: Callable[[], Values]) -> None:
        """Ask for this at each scrape: a value for each word of its label, or for "" if it has none."""
        self._at.asked[at] = values

    def count_trainings(self, by_status: Values, *, overdue: int, suspended: int) -> None:
        _set(self._trainings, by_status)
        self._overdue.set(overdue)
        self._suspended.set(suspended)

    def count_deliveries(self, by_time: Values) -> None:
        _set(self._waiting, by_time)

    def count_endpoints(self, by_status: Values) -> None:
        _set(self._endpoints, by_status)

    def counted_in(self, seconds: float) -> None:
        self._census_seconds.set(seconds)

    def exposition(self) -> bytes:
        return generate_latest(self._registry)

    # A series that is there from the start has a rate from its first event on; and to look it up takes time.

    def _counter(self, name: str, meaning: str) -> Counter:
        return Counter(f"{PREFIX}{name}", meaning, registry=self._registry)

    def _counters(self, name: str, meaning: str, label: str, words: Iterable[str]) -> dict[str, Counter]:
        counter = Counter(f"{PREFIX}{name}", meaning, [label], registry=self._registry)
        return {word: counter.labels(word) for word in words}

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(f"{PREFIX}{name}", meaning, registry=self._registry)

    def _gauges(self, name: str, meaning: str, label: str, words: Iterable[str]) -> dict[str, Gauge]:
        gauge = Gauge(f"{PREFIX}{name}", meaning, [label], registry=self._registry)
        return {word: gauge.labels(word) for word in words}

    def _histogram(self, name: str, meaning: str, buckets: Iterable[float]) -> Histogram:
        return Histogram(f"{PREFIX}{name}", meaning, buckets=tuple(buckets), registry=self._registry)


class _AtScrape(Collector):
    """Asks for the values of `At` when they are read."""

    def __init__(self) -> None:
        self.asked: dict[At, Callable[[], Values]] = {}

    def collect(self) -> Iterator[Metric]:
        for at, values in self.asked.items():
            meaning, label, family = at.value
            metric = family(f"{PREFIX}{at.name}", meaning, labels=[label] if label else [])
            for word, value in values().items():
                metric.add_metric([word] if label else [], value)
            yield metric


def _set(gauges: Mapping[str, Gauge], values: Values) -> None:
    for word, gauge in gauges.items():
        gauge.set(values.get(word, 0))
