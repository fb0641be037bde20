"""A tenant asks for more trainings than PhotoGPT runs at once: all come to their turn, in order and once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.forked import ForkedChildren
from tests.acceptance.history import rows
from tests.acceptance.stack import KEY, Stack, assert_one_event_each
from tests.support.waiting import wait_until_sync

_UNDER_WAY = "SELECT id FROM trainings WHERE status = 'submitting'"


@contextmanager
def stack_with_room(folder: Path, room: int) -> Iterator[Stack]:
    with ForkedChildren(folder) as children:
        stack = Stack(children, room=room, GATEWAY_QUEUE_PAUSE="0.2")
        stack.start_gateway()
        stack.share_secret()
        yield stack
        stack.close()


def queued(stack: Stack, models: list[str]) -> list[dict[str, Any]]:
    return [stack.train(model, on_capacity="queue") for model in models]


def started(stack: Stack) -> list[str]:
    """The models that PhotoGPT began to train, in this order."""
    calls = stack.calls("/models/[^/]+/train")
    return [call["path"].split("/")[2] for call in calls if call["status"] == 200]


def wait_for_starts(stack: Stack, count: int) -> None:
    wait_until_sync(lambda: len(started(stack)) >= count, what=f"{count} trainings to be started", timeout=60)


def stop_in_order(stack: Stack) -> None:
    stack.gateway.process.terminate()
    assert stack.end_gateway() == 0


def kill(stack: Stack) -> None:
    """At a moment at which no trigger is on its way: what came of that one nobody could say but PhotoGPT."""

    def at_rest() -> bool:
        stack.gateway.process.send_signal(signal.SIGSTOP)
        if not rows(stack.database, _UNDER_WAY):
            return True
        stack.gateway.process.send_signal(signal.SIGCONT)
        return False

    wait_until_sync(at_rest, what="a moment without a trigger under way", timeout=30)
    stack.kill_gateway()


@pytest.mark.timeout(300)
def test_twenty_with_room_for_three_are_trained_in_order_and_once_whatever_is_restarted(tmp_path: Path) -> None:
    ends: list[Callable[[Stack], None]] = [stop_in_order, kill, kill, stop_in_order, kill]
    with stack_with_room(tmp_path, 3) as stack:
        models = stack.models(20)
        trainings = queued(stack, models)
        assert [training["status"] for training in trainings[:4]] == ["training"] * 3 + ["queued"]
        assert trainings[3]["queue_position"] == 1
        for number, end in enumerate(ends, start=1):
            wait_for_starts(stack, 3 + 3 * number)
            end(stack)
            stack.start_gateway()
        stack.wait_for_events(20, timeout=120)

        assert_one_event_each(stack.received(), trainings, "ready")
        assert started(stack) == models
        assert stack.triggers() == dict.fromkeys(models, 1)


def test_killed_in_its_trigger_one_is_read_and_not_triggered_again_and_the_next_goes_on(tmp_path: Path) -> None:
    with stack_with_room(tmp_path, 1) as stack:
        first, second, third = models = stack.models(3)
        trainings = queued(stack, models)
        trigger = f"/models/{second}/train"
        stack.break_photogpt(path=trigger, kind="hang", seconds=60)
        before = stack.call_count(trigger)
        wait_until_sync(lambda: stack.call_count(trigger) > before, what="its turn", timeout=30)
        wait_until_sync(lambda: bool(rows(stack.database, _UNDER_WAY)), what="its trigger under way", timeout=30)
        stack.kill_gateway()
        tried = stack.call_count(trigger)
        # It took, though nobody was there to hear of it.
        stack.upstream.put(f"/_control/models/{second}", json={"key": KEY, "status": "training"}).raise_for_status()
        stack.start_gateway()
        stack.wait_for_events(3)

        assert_one_event_each(stack.received(), trainings, "ready")
        assert stack.call_count(trigger) == tried
        assert started(stack) == [first, third]


@pytest.mark.parametrize("point", ["C1", "C5"])
def test_killed_before_its_intent_or_after_its_outcome_it_is_trained_once(tmp_path: Path, point: str) -> None:
    with stack_with_room(tmp_path, 1) as stack:
        models = stack.models(3)
        trainings = queued(stack, models)
        stop_in_order(stack)
        stack.spawn_gateway(GATEWAY_CRASH_AT=point)
        stack.wait_for_crash(60)
        stack.start_gateway(GATEWAY_CRASH_AT=None)
        stack.wait_for_events(3)

        assert_one_event_each(stack.received(), trainings, "ready")
        assert started(stack) == models
