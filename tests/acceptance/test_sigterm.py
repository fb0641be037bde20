"""SIGTERM to a gateway under load, as every rollout sends it: no more is taken, what is under way is finished."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.acceptance.history import judge_the_end
from tests.acceptance.load import Load, say, share_secret, train_request
from tests.acceptance.stack import Stack
from tests.support.waiting import wait_until_sync

_RATE = 20
# How long a trigger and an attempt are under way, so that draining is long enough to be looked at.
_SLOW = 3.0
# A lease longer than that, since none may end: the whole point is that nobody's work is taken over.
_PATIENT = {"GATEWAY_LEASE": "20", "GATEWAY_UPSTREAM_TIMEOUT": "15", "GATEWAY_ATTEMPT_TIMEOUT": "15"}
_END_SECONDS = 25.0


@pytest.mark.timeout(3600)
def test_what_is_under_way_is_finished_and_nothing_is_lost_or_sent_twice(stack: Stack, campaign: pytest.Config) -> None:
    rounds = campaign.getoption("--sigterms")
    share_secret(stack)
    stack.start_gateway(**_PATIENT)
    acknowledged: dict[str, str] = {}
    ends = []
    with Load(stack, rate=_RATE) as load:
        for number in range(rounds):
            ends.append(ended_while_draining(stack, f"slow{number}", acknowledged))
            stack.start_gateway()
            time.sleep(1)
    acknowledged |= load.acknowledged
    figures = judge_the_end(stack, acknowledged, crashes=0)

    refused = load.answers["503 shutting_down"]
    say(f"{rounds} SIGTERMs: {figures}; {refused} requests refused and repeated; ended after {max(ends):.1f} s")


def ended_while_draining(stack: Stack, prefix: str, acknowledged: dict[str, str]) -> float:
    """One SIGTERM while a trigger and an attempt are under way. Seconds to the end."""
    [model] = stack.models(1, prefix)
    stack.break_photogpt(path=f"/models/{model}/train", kind="delay", seconds=_SLOW)
    stack.break_receiver(kind="delay", seconds=_SLOW, times=1)
    with ThreadPoolExecutor(1) as caller:
        slow = caller.submit(stack.api.post, "/v1/trainings", json=train_request(stack, model))
        wait_until_sync(lambda: stack.call_count(f"/models/{model}/train"), what="the slow trigger")
        asked_at = time.monotonic()
        stack.gateway.process.send_signal(signal.SIGTERM)
        assert_draining(stack)
        assert stack.end_gateway(_END_SECONDS) == 0
        took = time.monotonic() - asked_at
        answer = slow.result()
    assert answer.status_code == 202, answer.text
    acknowledged[model] = answer.json()["id"]
    return took


def assert_draining(stack: Stack) -> None:
    """Not ready on either port, while both still answer; and no new training is taken."""
    wait_until_sync(lambda: readiness(stack.health) == (503, "draining"), what="/readyz to say draining", timeout=2)
    assert readiness(stack.api) == (503, "draining")
    refused = stack.api.post("/v1/trainings", json=train_request(stack, stack.models(1, "late")[0]))
    assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
    assert int(refused.headers["retry-after"]) > 0
    assert stack.gateway.process.poll() is None


def readiness(client: httpx.Client) -> tuple[int, Any]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json()["status"]
