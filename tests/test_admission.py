"""Unknown keys: few are asked about at once and in a second, each once, and what was said of it is kept for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from service.admission import Admission
from service.domain.errors import RateLimited, UpstreamRefused, UpstreamUnreachable
from tests.support.clock import FakeClock
from tests.support.waiting import wait_until

Ask = Callable[[], Awaitable[str]]


class PhotoGPT:
    """Asked about keys, it gives or raises what is set; after `holds` only once it is let to."""

    def __init__(self) -> None:
        self.says: Exception | str = "good"
        self.asked = 0
        self.held: asyncio.Event | None = None

    async def __call__(self) -> str:
        self.asked += 1
        says = self.says
        if self.held is not None:
            await self.held.wait()
        if isinstance(says, Exception):
            raise says
        return says

    def was_asked(self, times: int) -> bool:
        return self.asked == times

    def holds(self) -> None:
        self.held = asyncio.Event()

    def release(self) -> None:
        assert self.held is not None
        self.held.set()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def photogpt() -> PhotoGPT:
    return PhotoGPT()


@pytest.fixture
def admission(clock: FakeClock) -> Admission:
    return Admission(clock)


async def refused(admission: Admission, who: str, ask: Ask) -> tuple[int, str]:
    with pytest.raises(UpstreamRefused) as told:
        await admission.check(who, ask)
    return told.value.status, told.value.message


async def turned_away(admission: Admission, who: str, ask: Ask) -> int:
    with pytest.raises(RateLimited) as told:
        await admission.check(who, ask)
    assert told.value.code == "too_many_unknown_keys"
    return told.value.retry_after


# --- what is kept ---


async def test_a_good_key_is_asked_about_once_in_some_minutes(
    admission: Admission, photogpt: PhotoGPT, clock: FakeClock
) -> None:
    assert admission.admits("ten_a") is None
    assert await admission.check("ten_a", photogpt) == "good"
    for seconds in (0, 200, 99):
        clock.advance(seconds)
        assert admission.admits("ten_a")
        assert await admission.check("ten_a", photogpt) is None
    assert photogpt.asked == 1
    clock.advance(1)
    assert admission.admits("ten_a") is None
    assert await admission.check("ten_a", photogpt) == "good"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_asked_about_once_a_minute_and_told_the_same(
    admission: Admission, photogpt: PhotoGPT, clock: FakeClock, status: int
) -> None:
    photogpt.says = UpstreamRefused(status, "no such key")
    for seconds in (0, 30, 29):
        clock.advance(seconds)
        assert await refused(admission, "ten_a", photogpt) == (status, "no such key")
        assert admission.admits("ten_a") is False
    assert photogpt.asked == 1
    clock.advance(1)
    photogpt.says = "good"
    assert await admission.check("ten_a", photogpt) == "good"


@pytest.mark.parametrize("status", [400, 402, 404, 409, 422, 429, 503])
async def test_a_refusal_that_is_not_about_the_key_is_not_kept_and_admits_nobody(
    admission: Admission, photogpt: PhotoGPT, status: int
) -> None:
    photogpt.says = UpstreamRefused(status, "not that model")
    assert await refused(admission, "ten_a", photogpt) == (status, "not that model")
    assert admission.admits("ten_a") is None
    photogpt.says = "good"
    assert await admission.check("ten_a", photogpt) == "good"


async def test_that_photogpt_was_not_reached_is_not_kept(admission: Admission, photogpt: PhotoGPT) -> None:
    photogpt.says = UpstreamUnreachable("no answer")
    with pytest.raises(UpstreamUnreachable):
        await admission.check("ten_a", photogpt)
    photogpt.says = "good"
    assert await admission.check("ten_a", photogpt) == "good"


async def test_a_key_that_something_is_stored_for_is_never_asked_about_again(
    admission: Admission, photogpt: PhotoGPT, clock: FakeClock
) -> None:
    admission.know("ten_a")
    clock.advance(10_000_000)
    assert admission.admits("ten_a")
    assert await admission.check("ten_a", photogpt) is None
    assert photogpt.asked == 0


async def test_only_so_many_answers_are_kept(photogpt: PhotoGPT, clock: FakeClock) -> None:
    admission = Admission(clock, most_kept=3)
    for name in ("a", "b", "c"):
        await admission.check(name, photogpt)
    assert admission.admits("a")
    await admission.check("d", photogpt)
    assert [admission.admits(name) for name in "abcd"] == [True, None, True, True]


# --- how many are asked about ---


async def test_five_at_once_and_then_five_a_second_are_asked_about(
    admission: Admission, photogpt: PhotoGPT, clock: FakeClock
) -> None:
    for number in range(5):
        await admission.check(f"ten_{number}", photogpt)
    assert await turned_away(admission, "ten_x", photogpt) == 1
    assert photogpt.asked == 5
    for number in range(20):
        clock.advance(0.2)
        await admission.check(f"ten_late_{number}", photogpt)
        assert await turned_away(admission, "ten_x", photogpt) == 1
    clock.advance(3600)
    for number in range(5):
        await admission.check(f"ten_later_{number}", photogpt)
    assert await turned_away(admission, "ten_x", photogpt) == 1


async def test_whoever_was_asked_about_is_let_in_while_others_have_to_wait(
    admission: Admission, photogpt: PhotoGPT
) -> None:
    for number in range(5):
        await admission.check(f"ten_{number}", photogpt)
    await turned_away(admission, "ten_x", photogpt)
    assert await admission.check("ten_0", photogpt) is None


async def test_while_photogpt_hangs_no_more_than_twenty_are_asked_about(
    admission: Admission, photogpt: PhotoGPT, clock: FakeClock
) -> None:
    photogpt.holds()
    asking = []
    for number in range(20):
        asking.append(asyncio.create_task(admission.check(f"ten_{number}", photogpt)))
        await wait_until(partial(photogpt.was_asked, number + 1), what="the question")
        clock.advance(1)
    assert await turned_away(admission, "ten_x", photogpt) == 1
    photogpt.release()
    assert await asyncio.gather(*asking) == ["good"] * 20
    assert await admission.check("ten_x", photogpt) == "good"


# --- several requests with one key ---


async def together(admission: Admission, photogpt: PhotoGPT, count: int) -> list[asyncio.Task[str | None]]:
    """So many requests with one key, of which one asks."""
    photogpt.holds()
    tasks = [asyncio.create_task(admission.check("ten_a", photogpt)) for _ in range(count)]
    await wait_until(lambda: admission._waiting == count - 1, what="the others to wait")
    assert photogpt.asked == 1
    return tasks


async def test_they_share_one_question_and_its_good_answer(admission: Admission, photogpt: PhotoGPT) -> None:
    tasks = await together(admission, photogpt, 5)
    photogpt.release()
    assert await asyncio.gather(*tasks) == ["good", None, None, None, None]
    assert photogpt.asked == 1


async def test_they_share_a_refusal(admission: Admission, photogpt: PhotoGPT) -> None:
    photogpt.says = UpstreamRefused(401, "no such key")
    tasks = await together(admission, photogpt, 5)
    photogpt.release()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [(type(error), str(error)) for error in told] == [(UpstreamRefused, "no such key")] * 5
    assert len({id(error) for error in told}) == 5, "one exception that is raised again and again grows without end"
    assert photogpt.asked == 1


async def test_they_share_that_photogpt_was_not_reached(admission: Admission, photogpt: PhotoGPT) -> None:
    photogpt.says = UpstreamUnreachable("no answer")
    tasks = await together(admission, photogpt, 5)
    photogpt.release()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [(type(error), str(error)) for error in told] == [(UpstreamUnreachable, "no answer")] * 5
    assert photogpt.asked == 1


async def test_a_refusal_of_one_model_is_not_told_to_a_request_for_another(
    admission: Admission, photogpt: PhotoGPT
) -> None:
    photogpt.says = UpstreamRefused(404, "no such model")
    tasks = await together(admission, photogpt, 3)
    photogpt.says = "good"
    photogpt.release()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(answer) for answer in told] == ["no such model", "good", "None"]
    assert photogpt.asked == 2


async def test_when_the_one_that_asks_is_given_up_another_asks(admission: Admission, photogpt: PhotoGPT) -> None:
    first, *others = await together(admission, photogpt, 3)
    first.cancel()
    await wait_until(lambda: photogpt.asked == 2, what="another question")
    photogpt.release()
    assert await asyncio.gather(*others) == ["good", None]
    assert first.cancelled()


async def test_one_that_waits_can_be_given_up_alone(admission: Admission, photogpt: PhotoGPT) -> None:
    tasks = await together(admission, photogpt, 3)
    tasks[1].cancel()
    await wait_until(tasks[1].done, what="its end")
    photogpt.release()
    assert [await tasks[0], await tasks[2]] == ["good", None]


async def test_no_more_than_a_hundred_wait_for_an_answer(admission: Admission, photogpt: PhotoGPT) -> None:
    tasks = await together(admission, photogpt, 101)
    assert await turned_away(admission, "ten_a", photogpt) == 1
    photogpt.release()
    await asyncio.gather(*tasks)
    assert (admission._waiting, admission._under_way) == (0, {})
