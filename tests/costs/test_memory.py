"""Memory that a watched model takes in the process: none. It is a row, wherever it is not polled at this moment."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from tests.costs.bounds import BYTES_HELD_PER_WATCHED_MODEL
from tests.costs.watching import photogpt, quiet_gateway, watch, watch_none
from tests.support.gateway import Gateway, World

_WARM_UP, _WATCHED, _POLLED = 100, 10_000, 200


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


async def polled(gateway: Gateway, count: int) -> None:
    while count > 0:
        made = await gateway.poll()
        assert made > 0
        count -= made


def held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def test_what_is_watched_is_not_kept_in_memory(world: World, traced: None) -> None:
    async with photogpt() as (fake, url), quiet_gateway(world, url) as gateway:
        # What is made once is made before: connections, statements, the children of metrics.
        watch(world, _WARM_UP)
        await polled(gateway, _WARM_UP)
        watch_none(world)
        fake.models.clear()
        before = held()
        watch(world, _WATCHED)
        await polled(gateway, _POLLED)
        fake.models.clear()
        after = held()
    assert after - before <= BYTES_HELD_PER_WATCHED_MODEL * _WATCHED
