"""kill -9 at random moments of a gateway under load, again and again."""

import random
import time

import pytest

from tests.acceptance.history import judge_the_end
from tests.acceptance.load import Load, say, share_secret
from tests.acceptance.stack import Stack
from tests.support.waiting import wait_until_sync

_RATE = 20
# What is hoped for is 5 s; a machine that does other things too may take longer.
_LONGEST_START = 30.0


@pytest.mark.timeout(7200)
def test_whatever_moment_it_is_killed_at_nothing_is_lost_and_nothing_done_twice(
    stack: Stack, campaign: pytest.Config, campaign_random: random.Random
) -> None:
    kills = campaign.getoption("--kills")
    share_secret(stack)
    stack.start_gateway()
    starts = []
    with Load(stack, rate=_RATE) as load:
        for _ in range(kills):
            time.sleep(campaign_random.uniform(0.3, 2))
            starts.append(killed_and_ready_again(stack))
    figures = judge_the_end(stack, load.acknowledged, crashes=kills)

    assert len(load.acknowledged) > kills, "hardly any load"
    assert max(starts) < _LONGEST_START
    broken = sum(count for answer, count in load.answers.items() if not answer.startswith(("409", "503")))
    say(f"{kills} kills: {figures}; {broken} requests broken and repeated; ready again after {max(starts):.1f} s")


def killed_and_ready_again(stack: Stack) -> float:
    """Seconds from the kill to the first 200 of /readyz."""
    killed_at = time.monotonic()
    stack.kill_gateway()
    stack.start_gateway()
    wait_until_sync(stack.is_ready, what="the gateway to be ready", timeout=_LONGEST_START)
    return time.monotonic() - killed_at
