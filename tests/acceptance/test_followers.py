"""Readers that follow the events of a gateway which is killed again and again: none is missed, none told twice."""

import random
import time

import pytest

from tests.acceptance.followers import Reader, pages, stream
from tests.acceptance.history import rows, wait_for_the_end
from tests.acceptance.load import Load, say, share_secret
from tests.acceptance.stack import Stack
from tests.support.waiting import wait_until_sync

# So few that a gateway that lives for a second gets through with them.
_RATE = 3


@pytest.mark.timeout(7200)
def test_a_reader_of_pages_and_one_of_the_stream_see_every_event_once_and_in_order(
    stack: Stack, campaign: pytest.Config, campaign_random: random.Random
) -> None:
    restarts = campaign.getoption("--restarts")
    share_secret(stack)
    stack.start_gateway()
    with Reader(stack, pages) as of_pages, Reader(stack, stream) as of_stream:
        with Load(stack, rate=_RATE) as load:
            for _ in range(restarts):
                wait_for_more(load, of_stream)
                time.sleep(campaign_random.uniform(0, 1))
                stack.kill_gateway()
                stack.start_gateway()
        wait_for_the_end(stack)
        expected = [event["id"] for event in rows(stack.database, "SELECT id FROM events ORDER BY position")]
        wait_until_sync(
            lambda: min(len(of_pages.seen), len(of_stream.seen)) >= len(expected),
            what="the readers to have all",
            timeout=30,
        )
        # One that was told too much has that by now: both end with the gateway.
        stack.address = None
        assert stack.gateway.end() == 0

    assert of_pages.seen == expected
    assert of_stream.seen == expected
    assert len(expected) >= len(load.acknowledged) > restarts, "hardly any load"
    assert of_stream.broken >= restarts, "the stream was not cut by every kill"
    say(
        f"{restarts} restarts: {len(expected)} events, each told once and in order; "
        f"{of_pages.broken} reads of pages and {of_stream.broken} streams were cut"
    )


def wait_for_more(load: Load, reader: Reader) -> None:
    """So that each gateway does some work, and each kill cuts a stream on which something came."""
    acknowledged, seen = len(load.acknowledged), len(reader.seen)
    wait_until_sync(
        lambda: len(load.acknowledged) > acknowledged and len(reader.seen) > seen,
        what="one more training and one more event",
        timeout=60,
    )
