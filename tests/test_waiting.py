import pytest

from tests.support.waiting import wait_until, wait_until_sync


async def test_waits_for_a_function() -> None:
    answers = iter([False, False, True])
    await wait_until(lambda: next(answers), what="the third answer")
    assert list(answers) == []


async def test_waits_for_a_coroutine_function() -> None:
    answers = iter([False, True])

    async def answer() -> bool:
        return next(answers)

    await wait_until(answer, what="the second answer")
    assert list(answers) == []


async def test_says_what_was_waited_for() -> None:
    with pytest.raises(AssertionError, match=r"waited 0.01 s in vain: rain"):
        await wait_until(lambda: False, what="rain", timeout=0.01)


def test_asks_at_least_once_without_a_loop_too() -> None:
    wait_until_sync(lambda: True, what="now", timeout=0)
    with pytest.raises(AssertionError, match="in vain: rain"):
        wait_until_sync(lambda: False, what="rain", timeout=0)
