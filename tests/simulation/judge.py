"""The invariants of the failure model (8.2), checked after every commit and at every call, and once more at the end.

It reads the database behind the gateway's back, and knows what both other sides saw. It has no opinion on how the
gateway does its work.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.photogpt import Model, PhotoGPT
from tests.simulation.receiver import Receiver

POLL_INTERVAL = 60.0
POLLS_PER_KEY = 2
POLLS_PER_SECOND = 5.0
SCHEDULE = (0.0, 5.0, 30.0, 120.0, 300.0)
SLOTS = 8
_SOONEST_TO_CONFIRM = 0.2 * POLL_INTERVAL
QUEUE_PAUSE = 60.0
# What a trigger may be on its way, and its intent wait for the database.
_UNDER_WAY = 10.0
# When, after its trigger, a model is polled in every other run, before it is every interval; the least gap of these.
POLL_TIMES = (45.0, 75.0, 200.0, 230.0)
LEAST_GAP = 30.0
_EPSILON = 0.001


# Deliveries with their targets, callbacks and webhook endpoints alike. The connection outlives a run.
_SENT = """CREATE TEMP VIEW IF NOT EXISTS sent AS
SELECT d.event_id, d.status, coalesce(d.callback_id, d.endpoint_id) AS target, coalesce(c.url, w.url) AS url
FROM deliveries d LEFT JOIN callbacks c ON c.id = d.callback_id LEFT JOIN webhook_endpoints w ON w.id = d.endpoint_id"""


class Violation(AssertionError):
    """A promise is broken."""


@dataclass
class Excuses:
    """What explains an early poll or a second copy; counted, so that one can say what happened since."""

    crashes: int = 0
    unrecorded: int = 0  # a database that was unavailable for longer than a lease
    forward_jumps: int = 0
    back_jumps: int = 0
    lost_answers: int = 0

    def now(self) -> tuple[int, int, int]:
        return self.crashes, self.unrecorded, self.forward_jumps


@dataclass(frozen=True)
class Submission:
    """An intent to trigger, stored for this training. `turn`: of one that had waited in its tenant's queue."""

    training: str
    tenant: str
    queues: bool
    turn: bool
    at: str


@dataclass
class Judge:
    raw: sqlite3.Connection
    photogpt: PhotoGPT
    receiver: Receiver
    least_gap: float = POLL_INTERVAL
    excuses: Excuses = field(default_factory=Excuses)
    acknowledged: set[str] = field(default_factory=set)
    violations: list[str] = field(default_factory=list)
    disabled: set[str] = field(default_factory=set)
    _subscribed: dict[str, int] = field(default_factory=dict)
    _found_right: tuple[int, int] | None = None
    _seen: dict[str, tuple[int, int, str, bool]] = field(default_factory=dict)
    _bodies: dict[str, bytes] = field(default_factory=dict)
    _submitted: dict[str, dict[str, Submission]] = field(default_factory=lambda: defaultdict(dict))
    _tries: dict[str, tuple[float, int]] = field(default_factory=dict)
    _polls: dict[str, tuple[float, tuple[int, int, int]]] = field(default_factory=dict)
    swept: int = 0
    _sweeps: dict[str, tuple[float, tuple[int, int, int]]] = field(default_factory=dict)
    _poll_times: list[float] = field(default_factory=list)
    _polling: Counter[str] = field(default_factory=Counter)
    _posting: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.raw.execute(_SENT)

    # --- after every commit

    def after_commit(self) -> None:
        """Most commits are claims of nothing: what has not changed is as it was when it was found right."""
        seen = self.raw.total_changes, len(self.acknowledged)
        if seen != self._found_right:
            self._look()
            self._found_right = seen

    def _look(self) -> None:
        rows = self.rows("SELECT id, fence, sequence, status, finished_at FROM trainings")
        for row_id, fence, sequence, status, finished in rows:
            self._moved_on(row_id, (fence, sequence, status, finished is not None))
        for model_id, *submission in self.rows(
            "SELECT model_id, id, tenant_id, queues, submitted_at != created_at, submitted_at FROM trainings"
            " WHERE submitted_at IS NOT NULL"
        ):
            stored = Submission(*submission)
            self._submitted[model_id][f"{stored.training} {stored.at}"] = stored
        known = {row[0] for row in rows}
        self._must(self.acknowledged <= known, "an acknowledged training is gone")
        self._nothing(
            "SELECT t.id, t.status, t.sequence, count(e.id), coalesce(sum(e.terminal), 0) AS ends FROM trainings t"
            " LEFT JOIN events e ON e.training_id = t.id GROUP BY t.id"
            " HAVING count(e.id) != t.sequence OR ends != (t.finished_at IS NOT NULL)"
            " OR (t.finished_at IS NOT NULL AND NOT coalesce(max(e.terminal AND e.type = 'training.' || t.status), 0))",
            "a training and its events disagree",
        )
        self._nothing(
            "SELECT event_id, target FROM sent GROUP BY event_id, target HAVING count(*) > 1",
            "an event is delivered twice to one target",
        )
        self._nothing(
            "SELECT t.id FROM tenants t LEFT JOIN events e ON e.tenant_id = t.id GROUP BY t.id"
            " HAVING count(e.id) != t.event_position OR coalesce(max(e.position), 0) != t.event_position",
            "the events of a tenant are not numbered without a gap",
        )
        for endpoint_id, status, position in self.rows(
            "SELECT w.id, w.status, t.event_position FROM webhook_endpoints w JOIN tenants t ON t.id = w.tenant_id"
        ):
            self._subscribed.setdefault(endpoint_id, position)
            if status == "disabled":
                self.disabled.add(endpoint_id)
        for event_id, body in self.rows("SELECT id, body FROM events"):
            self._must(self._bodies.setdefault(event_id, body) == body, f"{event_id} has changed its body")

    def _moved_on(self, row_id: str, now: tuple[int, int, str, bool]) -> None:
        before = self._seen.get(row_id)
        self._seen[row_id] = now
        if before is None:
            return
        self._must(now[:2] >= before[:2] and now[1] >= before[1], f"{row_id} went back from {before} to {now}")
        self._must(not before[3] or now[2:] == before[2:], f"{row_id} had ended: {before}, and now is {now}")

    # --- at every call

    def trigger_arrives(self, key: str, model: Model) -> None:
        intents = list(self._submitted[model.model_id].values())
        self._must(len(model.asked) <= len(intents), f"{model.model_id} ({key}) was triggered without its own intent")
        if intents[-1].queues:
            self._queue_moves(model, intents[-1])

    def _queue_moves(self, model: Model, intent: Submission) -> None:
        """In order, and with a pause after any earlier try of the key by who may wait."""
        now, jumps = _time(), self.excuses.forward_jumps
        last = self._tries.get(intent.tenant)
        self._tries[intent.tenant] = now, jumps
        if not intent.turn:
            return
        if last is not None and last[1] == jumps:
            self._must(now - last[0] >= QUEUE_PAUSE - _UNDER_WAY, f"{model.model_id} after {now - last[0]:.1f} s")
        if not self.excuses.back_jumps:
            ahead = "SELECT id FROM trainings WHERE tenant_id = ? AND status = 'queued' AND id < ?"
            overtaken = self.rows(ahead, intent.tenant, intent.training)
            self._must(not overtaken, f"{model.model_id} was started before {overtaken}")

    def poll_begins(self, key: str, model_id: str) -> None:
        now, excuses = _time(), self.excuses.now()
        newest = "SELECT id, to_confirm FROM trainings WHERE model_id = ? ORDER BY id DESC LIMIT 1"
        [(training, to_confirm)] = self.rows(newest, model_id)  # one may be trained again right after it was given up
        last = self._polls.get(training)
        if last is not None and last[1] == excuses:
            gap = now - last[0]
            soonest = 0.8 * self.least_gap
            soonest = min(soonest, _SOONEST_TO_CONFIRM) if to_confirm else soonest
            self._must(gap >= soonest - _EPSILON, f"{model_id} was polled again after {gap:.1f} s")
        self._polls[training] = now, excuses
        self._call_begins(key, now)

    def sweep_begins(self, key: str) -> None:
        now, excuses = _time(), self.excuses.now()
        last = self._sweeps.get(key)
        if last is not None and last[1] == excuses:
            self._must(
                now - last[0] >= 0.8 * self.least_gap - _EPSILON, f"{key} was swept again after {now - last[0]:.1f} s"
            )
        self._sweeps[key] = now, excuses
        self.swept += 1
        self._call_begins(key, now)

    def _call_begins(self, key: str, now: float) -> None:
        self._polling[key] += 1
        self._must(self._polling[key] <= POLLS_PER_KEY, f"{self._polling[key]} polls at once with {key}")
        self._poll_times.append(now)
        for count in (5, 20):
            if len(self._poll_times) > count:
                window = now - self._poll_times[-1 - count]
                # What was allowed to start may have been held up by a slow database for two seconds.
                self._must(count <= POLLS_PER_SECOND * (window + 2) + 2, f"{count} polls in {window:.1f} s")

    def poll_ends(self, key: str) -> None:
        self._polling[key] -= 1

    def post_begins(self, url: str, event_id: str, body: bytes) -> None:
        self._must((url, event_id) not in self._posting, f"{event_id} is on its way to {url} twice at once")
        self._posting.add((url, event_id))
        found = self.rows(
            "SELECT e.body, s.status FROM events e JOIN sent s ON s.event_id = e.id WHERE e.id = ? AND s.url = ?",
            event_id,
            url,
        )
        self._must(found == [(body, "pending")], f"{event_id} was sent to {url} while stored as {found}")

    def post_ends(self, url: str, event_id: str) -> None:
        self._posting.discard((url, event_id))

    def process_ended(self) -> None:
        """Nothing of it is under way any more."""
        self._polling.clear()
        self._posting.clear()

    # --- at the end, when all that was broken has healed

    def unfinished(self) -> list[Any]:
        return self.rows("SELECT id, status, suspended, due_at FROM trainings WHERE finished_at IS NULL") + self.rows(
            "SELECT id, status, attempts_made, due_at FROM deliveries"
            " WHERE status = 'pending' OR (endpoint_id IS NOT NULL AND status != 'delivered')"
        )

    def final(self) -> None:
        self._look()
        self._must(not self.unfinished(), f"still not ended: {self.unfinished()}")
        self._nothing("SELECT id FROM tenants WHERE sealed_key IS NOT NULL", "a key is kept though nothing is watched")
        self._nothing(
            "SELECT t.id, t.status, c.url FROM trainings t JOIN callbacks c ON c.training_id = t.id"
            " WHERE t.status IN ('ready', 'deleted', 'failed', 'expired') AND c.ended_at IS NULL AND NOT EXISTS"
            " (SELECT 1 FROM deliveries d JOIN events e ON e.id = d.event_id"
            "  WHERE d.callback_id = c.id AND e.training_id = t.id AND e.terminal)",
            "a callback was not told of the end",
        )
        self._nothing(
            "SELECT d.id, d.attempts_made FROM deliveries d JOIN callbacks c ON c.id = d.callback_id"
            f" WHERE d.status = 'dead' AND c.ended_at IS NULL AND d.attempts_made < {len(SCHEDULE)}",
            "a delivery was given up too soon",
        )
        self._nothing(
            "SELECT id FROM deliveries WHERE endpoint_id IS NOT NULL AND status != 'delivered'", "not recovered"
        )
        self._endpoints_were_told()
        self._ends_are_true()
        self._copies_are_excused()

    def _endpoints_were_told(self) -> None:
        """Of every end since they were subscribed, unless they were disabled at some time."""
        ends = self.rows(
            "SELECT w.id, e.id, e.position FROM webhook_endpoints w JOIN events e ON e.tenant_id = w.tenant_id"
            " WHERE e.terminal AND e.type != 'training.rejected' AND NOT EXISTS"
            " (SELECT 1 FROM deliveries d WHERE d.endpoint_id = w.id AND d.event_id = e.id)"
        )
        missed = [(endpoint, event) for endpoint, event, position in ends if position > self._subscribed[endpoint]]
        self._must({endpoint for endpoint, _ in missed} <= self.disabled, f"endpoints were not told: {missed}")

    def _ends_are_true(self) -> None:
        rows = self.rows("SELECT model_id, status, failure_code FROM trainings WHERE finished_at IS NOT NULL")
        ends: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
        for model_id, status, failure in rows:
            ends[model_id].append((status, failure))
        for model in self.photogpt.models.values():
            said = [status for _, status in model.said]
            for status, failure in ends[model.model_id]:
                expected = _word_for(status, failure)
                self._must(expected is None or expected in said, f"{model.model_id} is {status}, and never said so")
                many = said.count("gone") >= 3 or failure != "not_found"
                self._must(many, f"{model.model_id} is gone after {said.count('gone')} readings that say so")
            took_no_effect = [end for end in ends[model.model_id] if end[0] == "rejected" or end[1] == _UNCONFIRMED]
            begun = len(ends[model.model_id]) - len(took_no_effect)
            self._must(len(model.took) <= begun, f"{model.model_id} began {len(model.took)} times, ends: {ends}")

    def _copies_are_excused(self) -> None:
        successes: Counter[tuple[str, str]] = Counter()
        copies = 0
        for receipt in self.receiver.receipts:
            target = receipt.url, receipt.webhook_id
            # What was taken and not heard of is sent until it is: only another success is a copy.
            copies += receipt.success and successes[target] > 0
            successes[target] += receipt.success
            self._must(self._bodies.get(receipt.webhook_id) == receipt.body, f"{receipt.webhook_id} has another body")
        allowed = self.excuses.lost_answers + self.excuses.unrecorded + SLOTS * self.excuses.crashes
        self._must(copies <= allowed, f"{copies} copies, and only {allowed} have an excuse")
        delivered = self.rows("SELECT url, event_id FROM sent WHERE status = 'delivered'")
        for url, event_id in delivered:
            self._must(successes[url, event_id] > 0, f"{event_id} counts as delivered to {url}, and never was")

    # ---

    def rows(self, query: str, *parameters: Any) -> list[Any]:
        return self.raw.execute(query, parameters).fetchall()

    def _nothing(self, query: str, what: str) -> None:
        found = self.rows(query)
        self._must(not found, f"{what}: {found}")

    def _must(self, holds: bool, what: str) -> None:
        """Noted as well as raised: the gateway, which outlives errors, would outlive this one."""
        if not holds:
            self.violations.append(what)
            raise Violation(what)


_UNCONFIRMED = "trigger_unconfirmed"


def _word_for(status: str, failure: str | None) -> str | None:
    """What PhotoGPT must have said of a model before a training of it may end like this; None if nothing."""
    if failure == "upstream_failed":
        return "failed"
    if failure == "not_found":
        return "gone"
    return status if status in ("ready", "deleted") else None


def _time() -> float:
    return asyncio.get_running_loop().time()
