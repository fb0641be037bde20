"""The first page at a glance: read at most once a second, however many pages are open and whatever happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from service.call_counter import LOOPS
from service.components import Components
from service.domain.calls import WATCHING
from service.domain.delivery import KEPT_WAITING
from service.domain.training import Status
from service.ops import charts
from service.ops.words import problem, remedy, sentence
from service.storage.database import UnitOfWork
from service.storage.overview import MOST_ACTIVE, FailingHost
from service.storage.tables import Attempt, Training

_FRESH_SECONDS = 1.0
# Shown of each kind; the lists have the others.
_SHOWN = 12
_DURATIONS, _LATENCIES = 200, 300
_CALLS_OF = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Running:
    row: Training
    progress: charts.Progress | None


@dataclass(frozen=True, slots=True)
class Failing:
    """A host where deliveries do not arrive, why the newest did not, and what can be done."""

    host: FailingHost
    why: str
    remedy: str | None


@dataclass(frozen=True, slots=True)
class Calls:
    """What watching cost PhotoGPT, and what loops would have cost, for trainings that have ended since."""

    made: int
    by_loops: int


@dataclass(frozen=True, slots=True)
class Seen:
    """`more`: there are more active trainings than were looked through."""

    counts: Mapping[str, int]
    more: bool
    running: Sequence[Running]
    overdue: Sequence[Running]
    suspended: Sequence[Training]
    queued: Sequence[Training]
    places: Mapping[str, int]
    failing: Sequence[Failing]
    more_failing: bool
    calls: Calls
    durations: charts.Chart
    latencies: charts.Chart


class Glance:
    def __init__(self, parts: Components) -> None:
        self._parts = parts
        self._seen: tuple[float, Seen] | None = None

    async def look(self) -> Seen:
        monotonic = self._parts.clock.monotonic()
        if self._seen is None or not 0 <= monotonic - self._seen[0] < _FRESH_SECONDS:
            self._seen = monotonic, await self._parts.database.read(self._read)
        return self._seen[1]

    def forget(self) -> None:
        """Something was done just now that is to be seen."""
        self._seen = None

    def _read(self, unit: UnitOfWork) -> Seen:
        now = self._parts.clock.now()
        longest = timedelta(seconds=self._parts.settings.overdue_after)
        active = unit.overview.active()
        by_age = sorted(active[:MOST_ACTIVE], key=lambda row: row.triggered_at or row.created_at)
        suspended = [row for row in by_age if row.suspended]
        queued = sorted((row for row in by_age if row.status == Status.QUEUED), key=lambda row: row.id)
        watched = [row for row in by_age if row.status != Status.QUEUED and not row.suspended]
        overdue = [row for row in watched if row.overdue]
        running = [row for row in watched if not row.overdue]
        shown_queued = queued[:_SHOWN]
        hosts, more_failing = unit.overview.failing_hosts(since=now - KEPT_WAITING)
        last = unit.overview.last_attempts([host.newest.id for host in hosts])
        failing = [_failing(host, last.get(host.newest.id)) for host in hosts]
        took = unit.history.durations(limit=_DURATIONS)
        sent = unit.overview.lately_sent(limit=_LATENCIES)
        return Seen(
            counts={
                "running": len(running) + len(overdue),
                "overdue": len(overdue),
                "suspended": len(suspended),
                "queued": len(queued),
            },
            more=len(active) > MOST_ACTIVE,
            running=[Running(row, charts.progress(row, now, longest)) for row in running[:_SHOWN]],
            overdue=[Running(row, charts.progress(row, now, longest)) for row in overdue[:_SHOWN]],
            suspended=suspended[:_SHOWN],
            queued=shown_queued,
            places=_places(unit, shown_queued),
            failing=sorted(failing, key=lambda one: -(one.host.retrying + one.host.dead)),
            more_failing=more_failing,
            calls=_calls(unit.call_counts.since((now - _CALLS_OF).date())),
            durations=charts.durations(took),
            latencies=charts.latencies(sent),
        )


def _places(unit: UnitOfWork, queued: Sequence[Training]) -> dict[str, int]:
    places: dict[str, int] = {}
    for tenant_id in {row.tenant_id for row in queued}:
        places |= unit.queues.positions([row for row in queued if row.tenant_id == tenant_id])
    return places


def _failing(host: FailingHost, last: Attempt | None) -> Failing:
    why = problem(last) if last else None
    return Failing(host, sentence(why or "given up before an attempt was made"), remedy(last) if last else None)


def _calls(counts: Mapping[str, int]) -> Calls:
    return Calls(sum(counts.get(kind, 0) for kind in WATCHING), counts.get(LOOPS, 0))
