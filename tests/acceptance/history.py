"""What happened, judged afterwards: what callers were answered, PhotoGPT was asked, the receiver got, and is stored.

The campaigns may do to the gateway what they like; this is what must hold of it (failure model 0, promises 1 to 4).
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg

from service.domain.event import TERMINAL_EVENTS
from service.domain.training import Status
from tests.acceptance.stack import Stack
from tests.storage.interleaving import in_another_thread
from tests.support.waiting import wait_until_sync

Row = dict[str, Any]
# The default of GATEWAY_DELIVERIES_IN_FLIGHT.
SLOTS = 64
_UNFINISHED = """
    SELECT (SELECT count(*) FROM trainings WHERE finished_at IS NULL)
         + (SELECT count(*) FROM deliveries WHERE status = 'pending')
"""


@dataclass(frozen=True)
class History:
    """`acknowledged`: the training id that the caller was told, by model; each model was asked for by one caller."""

    acknowledged: Mapping[str, str]
    trigger_calls: Counter[str]
    triggered: Mapping[str, int]
    received: Sequence[Row]
    trainings: Sequence[Row]
    events: Sequence[Row]
    deliveries: Sequence[Row]
    attempts: Sequence[Row]


@dataclass(frozen=True)
class Figures:
    trainings: int
    unconfirmed: int
    webhooks: int
    copies: int
    interrupted: int

    def __str__(self) -> str:
        return (
            f"{self.trainings} trainings ({self.unconfirmed} not triggered), {self.webhooks} webhooks delivered, "
            f"{self.copies} extra copies, {self.interrupted} interrupted attempts"
        )


@contextmanager
def stored(path: Path) -> Iterator[sqlite3.Connection]:
    """The gateway's database, for reading beside it."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def rows(where: Path | str, query: str) -> list[Row]:
    """`where`: SQLite's file, or PostgreSQL's URL."""
    if isinstance(where, str):
        return in_another_thread(lambda: _rows_of_postgres(where, query))
    with stored(where) as connection:
        return [dict(row) for row in connection.execute(query)]


async def _rows_of_postgres(url: str, query: str) -> list[Row]:
    connection = await asyncpg.connect(url)
    try:
        return [dict(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


def wait_for_the_end(stack: Stack, timeout: float = 180) -> None:
    """Until every training has ended and every webhook is settled."""
    wait_until_sync(
        lambda: next(iter(rows(stack.where, _UNFINISHED)[0].values())) == 0,
        what="every training and delivery to end",
        timeout=timeout,
    )


def gather(stack: Stack, acknowledged: Mapping[str, str]) -> History:
    where = stack.where
    trigger_calls = stack.calls(r"/models/[^/]+/train")
    trainings = rows(where, "SELECT * FROM trainings")
    mine = {training["id"] for training in trainings}
    return History(
        acknowledged=dict(acknowledged),
        trigger_calls=Counter(call["path"].split("/")[2] for call in trigger_calls),
        triggered=stack.triggers(),
        received=[webhook for webhook in stack.received() if webhook["event"]["data"]["id"] in mine],
        trainings=trainings,
        events=rows(where, "SELECT * FROM events"),
        deliveries=rows(where, "SELECT d.*, c.url FROM deliveries d JOIN callbacks c ON c.id = d.callback_id"),
        attempts=rows(where, "SELECT * FROM attempts ORDER BY delivery_id, number"),
    )


def judge(history: History, *, crashes: int, slots: int = SLOTS) -> Figures:
    """Nothing acknowledged is lost, nothing is done twice but what a crash excuses; `slots`: attempts in flight."""
    _assert_every_training_ended_once(history)
    _assert_triggered_at_most_once(history)
    _assert_one_id_and_body_per_event(history)
    interrupted = _assert_attempts_end_with_success(history, crashes)
    copies = _assert_delivered(history)
    assert copies <= crashes * slots, f"{copies} extra copies after {crashes} crashes"
    return Figures(
        trainings=len(history.trainings),
        unconfirmed=sum(training["failure_code"] == "trigger_unconfirmed" for training in history.trainings),
        webhooks=len(history.deliveries),
        copies=copies,
        interrupted=interrupted,
    )


def judge_the_end(stack: Stack, acknowledged: Mapping[str, str], *, crashes: int, slots: int = SLOTS) -> Figures:
    """Wait until everything has ended, then judge it."""
    wait_for_the_end(stack)
    return judge(gather(stack, acknowledged), crashes=crashes, slots=slots)


def _assert_every_training_ended_once(history: History) -> None:
    by_id = {training["id"]: training for training in history.trainings}
    lost = {model: known for model, known in history.acknowledged.items() if known not in by_id}
    assert not lost, f"acknowledged and not stored: {lost}"
    wrong = {model for model, known in history.acknowledged.items() if by_id[known]["model_id"] != model}
    assert not wrong, f"acknowledged with the training of another model: {wrong}"
    # A trigger that never left is rejected, and the caller's repeat is a new training.
    several = _several(training["model_id"] for training in _watched(history))
    assert not several, f"several trainings of one model: {several}"
    ends = defaultdict(list)
    for event in history.events:
        if event["terminal"]:
            ends[event["training_id"]].append(event["type"])
    for training in history.trainings:
        assert training["finished_at"] is not None, f"not ended: {training}"
        assert ends[training["id"]] == [TERMINAL_EVENTS[Status(training["status"])]], f"{training}: {ends}"


def _assert_triggered_at_most_once(history: History) -> None:
    several = {model: count for model, count in history.trigger_calls.items() if count > 1}
    assert not several, f"triggered more than once: {several}"
    for training in _watched(history):
        started = history.triggered.get(training["model_id"], 0)
        expected = "ready" if started else "failed"
        assert training["status"] == expected, f"{started} started at PhotoGPT: {training}"


def _assert_one_id_and_body_per_event(history: History) -> None:
    bodies = {event["id"]: event["body"].decode() for event in history.events}
    for webhook in history.received:
        event_id = webhook["webhook_id"]
        assert event_id in bodies, f"sent and not stored: {event_id}"
        assert webhook["body"] == bodies[event_id], f"two bodies of {event_id}"
        assert webhook["verified"] is True, f"{event_id}: {webhook['problem']}"


def _assert_attempts_end_with_success(history: History, crashes: int) -> int:
    """After a recorded 2xx nothing more is sent; what a crash interrupts is marked. Returns how many were."""
    interrupted = Counter(
        attempt["delivery_id"] for attempt in history.attempts if attempt["error_class"] == "interrupted"
    )
    assert all(count <= crashes for count in interrupted.values()), f"{crashes} crashes, interrupted: {interrupted}"
    for earlier, later in pairwise(history.attempts):
        if earlier["delivery_id"] == later["delivery_id"]:
            known = _succeeded(earlier["status_code"]) and _ended_at(earlier) <= _moment(later["started_at"])
            assert not known, f"sent again after a recorded success: {later}"
    return interrupted.total()


def _assert_delivered(history: History) -> int:
    """Each terminal event reached each of its callbacks. Returns how many more successes the receiver saw than that."""
    expected = {event["id"] for event in history.events if event["terminal"]}
    expected -= {event["id"] for event in history.events if event["type"] == "training.rejected"}
    assert expected <= {delivery["event_id"] for delivery in history.deliveries}, "a terminal event without delivery"
    # The receiver notes no status for an answer that found the gateway gone; it had the webhook.
    accepted = Counter(_target(hook) for hook in history.received if _succeeded(hook["answered"] or 200))
    sent = Counter(_target(hook) for hook in history.received)
    attempts = Counter(attempt["delivery_id"] for attempt in history.attempts)
    copies = 0
    for delivery in history.deliveries:
        assert delivery["status"] == "delivered", f"not delivered: {delivery}"
        target = (delivery["event_id"], _name(delivery["url"]))
        assert accepted[target] >= 1, f"recorded as delivered, and never received: {delivery}"
        assert sent[target] <= attempts[delivery["id"]], f"sent more often than attempts were noted: {delivery}"
        copies += accepted[target] - 1
    return copies


def _watched(history: History) -> list[Row]:
    return [training for training in history.trainings if training["status"] != Status.REJECTED]


def _several(items: Iterator[str]) -> dict[str, int]:
    return {item: count for item, count in Counter(items).items() if count > 1}


def _succeeded(status: int | None) -> bool:
    return status is not None and 200 <= status < 300


def _ended_at(attempt: Row) -> datetime:
    """Whose process was frozen, or lost its lease, may say late that it had succeeded."""
    return _moment(attempt["started_at"]) + timedelta(milliseconds=attempt["duration_ms"])


def _moment(stored: str | datetime) -> datetime:
    return stored if isinstance(stored, datetime) else datetime.fromisoformat(stored)


def _target(webhook: Row) -> tuple[str, str]:
    return webhook["webhook_id"], webhook["name"]


def _name(url: str) -> str:
    """The receiver's name for a callback URL: .../hook or .../hook/NAME."""
    return url.rpartition("/hook")[2].removeprefix("/") or "default"
