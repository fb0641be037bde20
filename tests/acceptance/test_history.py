"""The judge of the campaigns finds what it is there for: each kind of wrong history fails, and a good one passes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.acceptance.history import Figures, History, Row, judge

BODY = "the body"


def _attempt(number: int, status: int | None, error_class: str | None) -> Row:
    """The second begins after the first has ended."""
    duration = None if status is None else 100
    started_at = f"2026-02-01T10:00:0{number}+00:00"
    return {
        "delivery_id": "dlv_1",
        "number": number,
        "started_at": started_at,
        "duration_ms": duration,
        "status_code": status,
        "error_class": error_class,
    }


def history(**changes: Any) -> History:
    """One training that ended well, whose delivery was interrupted once and therefore sent twice."""
    hook = {"webhook_id": "evt_1", "name": "a", "body": BODY, "verified": True, "problem": None, "answered": 204}
    good = History(
        acknowledged={"model": "trn_1"},
        trigger_calls=Counter({"model": 1}),
        triggered={"model": 1},
        received=[hook, hook],
        trainings=[
            {"id": "trn_1", "model_id": "model", "status": "ready", "finished_at": "now", "failure_code": None},
        ],
        events=[
            {"id": "evt_1", "training_id": "trn_1", "type": "training.ready", "terminal": 1, "body": BODY.encode()},
        ],
        deliveries=[{"id": "dlv_1", "event_id": "evt_1", "status": "delivered", "url": "http://127.0.0.1:1/hook/a"}],
        attempts=[
            _attempt(1, None, "interrupted"),
            _attempt(2, 204, None),
        ],
    )
    return replace(good, **changes)


def changed(items: list[Row], **changes: Any) -> list[Row]:
    return [{**item, **changes} for item in items]


def test_a_good_history_passes() -> None:
    assert judge(history(), crashes=1) == Figures(1, unconfirmed=0, webhooks=1, copies=1, interrupted=1)


GOOD = history()
WRONG: dict[str, Callable[[], History]] = {
    "acknowledged and not stored": lambda: history(acknowledged={"model": "trn_2"}),
    "another model's training": lambda: history(acknowledged={"other": "trn_1"}),
    "two trainings of a model": lambda: history(trainings=[*GOOD.trainings, {**GOOD.trainings[0], "id": "trn_2"}]),
    "not ended": lambda: history(trainings=changed([*GOOD.trainings], finished_at=None)),
    "no terminal event": lambda: history(events=changed([*GOOD.events], terminal=0)),
    "two terminal events": lambda: history(events=[*GOOD.events, {**GOOD.events[0], "id": "evt_2"}]),
    "event of another end": lambda: history(events=changed([*GOOD.events], type="training.failed")),
    "triggered twice": lambda: history(trigger_calls=Counter({"model": 2})),
    "ready and never triggered": lambda: history(triggered={}),
    "sent and not stored": lambda: history(received=changed([*GOOD.received], webhook_id="evt_9")),
    "two bodies": lambda: history(received=[GOOD.received[0], {**GOOD.received[1], "body": "another"}]),
    "wrong signature": lambda: history(received=changed([*GOOD.received], verified=False)),
    "delivered and never received": lambda: history(received=[]),
    "more copies than attempts": lambda: history(received=[*GOOD.received, GOOD.received[0]]),
    "sent again after success": lambda: history(attempts=[_attempt(1, 204, None), _attempt(2, None, "interrupted")]),
    "not delivered": lambda: history(deliveries=changed([*GOOD.deliveries], status="dead")),
    "no delivery": lambda: history(deliveries=[]),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_history_fails(wrong: Callable[[], History]) -> None:
    with pytest.raises(AssertionError):
        judge(wrong(), crashes=1)


@pytest.mark.parametrize(("crashes", "slots"), [(0, 64), (1, 0)])
def test_copies_need_a_crash_and_a_slot(crashes: int, slots: int) -> None:
    with pytest.raises(AssertionError):
        judge(history(), crashes=crashes, slots=slots)
