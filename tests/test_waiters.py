"""Waiters: whoever listens before it reads misses nothing, and nobody waits once the process ends."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from service.domain.errors import TooManyWaiting
from service.waiters import Waiters

MINE, THEIRS = "ten_1", "ten_2"


async def awakes(woken: asyncio.Event) -> bool:
    """Without any wait of its own."""
    try:
        async with asyncio.timeout(0):
            await woken.wait()
    except TimeoutError:
        return False
    return True


async def test_news_wake_all_of_their_tenant_and_nobody_else() -> None:
    waiters = Waiters()
    with waiters.listening(MINE) as one, waiters.listening(MINE) as other, waiters.listening(THEIRS) as theirs:
        assert [await awakes(woken) for woken in (one, other, theirs)] == [False] * 3
        waiters.wake([MINE, "ten_without_anybody"])
        assert [await awakes(woken) for woken in (one, other, theirs)] == [True, True, False]
        waiters.wake([MINE, THEIRS])
        assert await awakes(theirs)


async def test_news_that_come_while_one_reads_are_not_lost() -> None:
    """Clear, read, wait: what comes after the clearing wakes."""
    waiters, news = Waiters(), [1]
    seen: list[int] = []
    with waiters.listening(MINE) as woken:
        while len(seen) < 3:
            woken.clear()
            seen += news[len(seen) :]
            if len(news) < 3:
                news.append(len(news) + 1)
                waiters.wake([MINE])
            else:
                break
            assert await awakes(woken)
    assert seen == [1, 2, 3]


async def test_one_set_of_news_wakes_until_it_is_cleared() -> None:
    waiters = Waiters()
    with waiters.listening(MINE) as woken:
        waiters.wake([MINE])
        assert await awakes(woken)
        assert await awakes(woken)
        woken.clear()
        assert not await awakes(woken)


async def test_news_from_before_wake_nobody() -> None:
    waiters = Waiters()
    waiters.wake([MINE])
    with waiters.listening(MINE) as woken:
        assert not await awakes(woken)


async def test_who_is_gone_leaves_nothing_behind() -> None:
    waiters = Waiters()
    with waiters.listening(MINE) as staying:
        with pytest.raises(KeyError), waiters.listening(MINE) as gone:
            raise KeyError
        waiters.wake([MINE])
        assert await awakes(staying)
        assert not await awakes(gone)
    assert (waiters._waiting, waiters._count) == ({}, 0)


async def test_at_the_end_all_are_woken_and_nobody_waits_any_more() -> None:
    waiters = Waiters()
    with waiters.listening(MINE) as mine, waiters.listening(THEIRS) as theirs:
        assert not waiters.closed
        waiters.close()
        assert waiters.closed
        assert await awakes(mine)
        assert await awakes(theirs)
        with waiters.listening(MINE) as late:
            assert await awakes(late)


async def test_a_thousand_of_all_tenants_are_the_most() -> None:
    waiters = Waiters()
    with ExitStack() as stack:
        for number in range(1000):
            stack.enter_context(waiters.listening(f"ten_{number % 7}"))
        with pytest.raises(TooManyWaiting) as refused, waiters.listening(MINE):
            pass
        assert "1000" in str(refused.value)
    with waiters.listening(MINE):
        assert waiters._count == 1


async def test_one_tenant_takes_no_more_than_its_share() -> None:
    waiters = Waiters(per_tenant=3)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(waiters.listening(MINE))
        with pytest.raises(TooManyWaiting) as refused, waiters.listening(MINE):
            pass
        assert str(refused.value).startswith("3 of your requests")
        with waiters.listening(THEIRS):
            assert waiters._count == 4
    assert (waiters._waiting, waiters._count) == ({}, 0)
    with waiters.listening(MINE):
        pass
