"""What `/metrics` asks the parts for when it is read: values that are in memory, so that asking costs no query."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from service.claimloop import ClaimLoop
from service.components import Components
from service.telemetry.metrics import At, Values


def connect(parts: Components) -> None:
    """Let the metrics of these parts ask them."""
    settings, metrics = parts.settings, parts.metrics
    metrics.describe(
        version=version("photogpt-webhooks"),
        mode=settings.mode,
        role=settings.role,
        database="sqlite" if settings.sqlite_path else "postgresql",
    )
    loops = parts.loops.of(settings.role)

    def of_each(value: Callable[[ClaimLoop[object]], float | None]) -> Callable[[], Values]:
        """Of each loop; left out where there is none yet."""
        return lambda: {loop.name: found for loop in loops if (found := value(loop)) is not None}

    def one(value: Callable[[], float | None]) -> Callable[[], Values]:
        return lambda: {} if (found := value()) is None else {"": found}

    pulse, lifecycle, dispatcher = parts.heartbeat.pulse, parts.lifecycle, parts.webhooks.dispatcher
    for at, values in {
        At.loop_restarts: of_each(lambda loop: loop.restarts),
        At.loop_in_flight: of_each(lambda loop: loop.in_flight),
        At.loop_idle_seconds: of_each(lambda loop: loop.idle_for),
        At.loop_unclaimed_seconds: of_each(lambda loop: loop.unclaimed_for),
        At.oldest_due_seconds: lambda: pulse().waiting,
        At.tick_age_seconds: one(lambda: lifecycle.tick_age),
        At.database_up: one(lambda: pulse().storage_ok),
        At.heartbeat_age_seconds: one(lambda: pulse().written_ago),
        At.draining: one(lambda: lifecycle.draining),
        At.waiting_requests: one(lambda: len(parts.waiters)),
        At.upstream_breaker_open: one(lambda: parts.trainings.poller.upstream_down),
        At.receiver_hosts: one(lambda: dispatcher.hosts[0]),
        At.receiver_breakers_open: one(lambda: dispatcher.hosts[1]),
    }.items():
        metrics.ask(at, values)
