"""A gateway that dies at each named crash point, and is started again: the table of the failure model, row by row."""

import random
import time
from collections.abc import Callable

import pytest

from service.crashpoints import CrashPoint
from tests.acceptance.crash_case import IDEMPOTENCY_KEY, CrashCase
from tests.acceptance.history import SLOTS, rows
from tests.acceptance.load import Load, say
from tests.acceptance.stack import FAST, Stack
from tests.support.waiting import wait_until_sync

Row = Callable[[CrashCase], None]
_INSTANT = {"C8", "C9", "C10", "C11", "C12", "C14"}


def intent_uncommitted(case: CrashCase) -> None:
    case.start_armed("C1")
    case.broken(key=IDEMPOTENCY_KEY)
    case.crashed()
    case.restart()
    assert case.trigger_calls() == 0
    assert case.rows("trainings") == []
    case.accepted(key=IDEMPOTENCY_KEY)
    case.finish()
    case.judged()
    assert case.training()["status"] == "ready"


def intent_committed(case: CrashCase) -> None:
    case.start_armed("C2")
    case.broken(key=IDEMPOTENCY_KEY)
    case.crashed()
    assert case.training()["status"] == "submitting"
    case.restart()
    case.repeats_give(case.training()["id"])
    figures = case.judged()
    assert (case.training()["status"], case.training()["failure_code"]) == ("failed", "trigger_unconfirmed")
    assert (figures.webhooks, case.trigger_calls()) == (1, 0)


def trigger_sent(case: CrashCase) -> None:
    case.start_armed("C3")
    case.broken(key=IDEMPOTENCY_KEY)
    case.crashed()
    assert case.training()["status"] == "submitting"
    case.restart()
    case.repeats_give(case.training()["id"])
    if case.stack.triggers().get(case.model):
        case.finish()
    case.judged()
    assert case.trigger_calls() <= 1


def trigger_answered(case: CrashCase) -> None:
    case.start_armed("C4")
    case.broken(key=IDEMPOTENCY_KEY)
    case.crashed()
    assert (case.training()["status"], case.trigger_calls()) == ("submitting", 1)
    case.restart()
    case.repeats_give(case.training()["id"])
    wait_until_sync(lambda: case.training()["status"] == "training", what="the training to be adopted", timeout=30)
    case.finish()
    case.judged()
    assert (case.training()["status"], case.trigger_calls()) == ("ready", 1)


def outcome_committed(case: CrashCase) -> None:
    case.start_armed("C5")
    case.broken(key=IDEMPOTENCY_KEY)
    case.crashed()
    assert (case.training()["status"], case.trigger_calls()) == ("training", 1)
    case.restart()
    case.repeats_give(case.training()["id"])
    case.finish()
    case.judged()
    assert (case.training()["status"], case.trigger_calls()) == ("ready", 1)


def polling(point: str) -> Row:
    """C6 and C7: nothing of the poll is stored but its lease."""

    def row(case: CrashCase) -> None:
        case.start_armed(point, case.random.randint(1, 3))
        case.accepted()
        case.crashed()
        before = case.training()
        case.restart()
        wait_until_sync(lambda: case.training()["fence"] > before["fence"], what="the lease to end", timeout=30)
        case.finish()
        assert case.judged().interrupted == 0

    return row


def status_uncommitted(case: CrashCase) -> None:
    case.start_armed("C8")
    case.accepted()
    case.crashed()
    assert case.training()["status"] == "training"
    assert case.terminal_events() + case.rows("deliveries") == []
    case.restart()
    case.judged()


def status_committed(case: CrashCase) -> None:
    case.start_armed("C9")
    case.accepted()
    case.crashed()
    assert (case.training()["status"], len(case.terminal_events())) == ("ready", 1)
    assert [delivery["attempts_started"] for delivery in case.rows("deliveries")] == [0]
    case.restart()
    case.judged()
    assert len(case.received()) == 1


def attempt_claimed(case: CrashCase) -> None:
    case.start_armed("C10")
    case.accepted()
    case.crashed()
    assert (len(case.rows("attempts")), case.received()) == (1, [])
    case.restart()
    case.judged()
    assert case.errors() == ["interrupted", None]
    assert len(case.received()) == 1


def attempt_unrecorded(case: CrashCase) -> None:
    case.start_armed("C11", case.random.randint(1, 2))
    case.accepted()
    case.crashed()
    case.restart()
    case.judged(copies=1)
    assert case.errors() == ["interrupted", None]
    assert 1 <= len(case.received()) <= 2


def attempt_recorded(case: CrashCase) -> None:
    case.start_armed("C12")
    case.accepted()
    case.crashed()
    assert [delivery["status"] for delivery in case.rows("deliveries")] == ["delivered"]
    case.restart()
    # Nothing is left that could be waited for; a lost lease would show by now.
    time.sleep(float(FAST["GATEWAY_LEASE"]) + 1)
    case.judged()
    assert (case.errors(), len(case.received())) == ([None], 1)


def fan_out(case: CrashCase) -> None:
    names = ["", "/a", "/b"]
    case.start_armed("C13", case.random.randint(1, len(names)))
    assert len({case.accepted(name=name) for name in names}) == 1
    case.finish()
    case.crashed()
    assert case.terminal_events() + case.rows("deliveries") == []
    case.restart()
    case.judged()
    assert sorted(hook["name"] for hook in case.received()) == ["a", "b", "default"]


def key_unerased(case: CrashCase) -> None:
    case.start_armed("C14", callers_own_key=True)
    case.accepted()
    case.crashed()
    assert [tenant["sealed_key"] is None for tenant in case.rows("tenants")] == [False]
    case.restart()
    case.judged()
    assert [tenant["sealed_key"] for tenant in case.rows("tenants")] == [None]


def migrating(case: CrashCase) -> None:
    tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
    case.start_armed("C15")
    case.crashed()
    after_crash = {row["name"] for row in rows(case.stack.database, tables)}
    case.restart()
    assert after_crash in (set(), {row["name"] for row in rows(case.stack.database, tables)})
    case.accepted()
    case.finish()
    case.judged()


def unacknowledged(case: CrashCase) -> None:
    """Any commit at all, of the start, of a request, a poll or an attempt."""
    with Load(case.stack, rate=10, prefix=f"{case.name}-load") as load:
        case.start_armed("C16", case.random.randint(3, 40))
        case.crashed()
        case.restart()
        wait_until_sync(lambda: load.acknowledged, what="a training", timeout=30)
    case.acknowledged = load.acknowledged
    case.judged(copies=SLOTS)


_TABLE: dict[str, Row] = {
    "C1": intent_uncommitted,
    "C2": intent_committed,
    "C3": trigger_sent,
    "C4": trigger_answered,
    "C5": outcome_committed,
    "C6": polling("C6"),
    "C7": polling("C7"),
    "C8": status_uncommitted,
    "C9": status_committed,
    "C10": attempt_claimed,
    "C11": attempt_unrecorded,
    "C12": attempt_recorded,
    "C13": fan_out,
    "C14": key_unerased,
    "C15": migrating,
    "C16": unacknowledged,
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("point", list(CrashPoint))
def test_what_a_crash_there_leaves_behind_ends_as_the_failure_model_says(
    point: str, shared_stack: Stack, campaign: pytest.Config, campaign_random: random.Random
) -> None:
    runs = campaign.getoption("--runs")
    for run in range(runs):
        case = CrashCase(shared_stack, f"{point}-{run}", campaign_random, instant=point in _INSTANT)
        try:
            _TABLE[point](case)
        finally:
            shared_stack.gateway.process.kill()
    say(f"{point}: {runs} crashes, each ended as its row says")
