"""The one form of every loop: claim what there are slots for, work on it, survive, and end in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from service.claimloop import Claimed, ClaimLoop
from service.domain.errors import StorageUnavailable
from tests.support.clock import FakeClock
from tests.support.waiting import wait_until


class Backlog:
    """Due rows, claimed in order; each is worked on until it is let go, or at once if `quick`."""

    def __init__(self, size: int = 0, *, quick: bool = False) -> None:
        self.due = list(range(size))
        self.quick = quick
        self.asked: list[int] = []
        self.begun: list[int] = []
        self.done: list[int] = []
        self.called_off: list[int] = []
        self.at_once = 0
        self._gates: dict[int, asyncio.Event] = {}

    async def claim(self, limit: int) -> Claimed[int]:
        self.asked.append(limit)
        claimed, self.due = self.due[:limit], self.due[limit:]
        return Claimed(claimed, more=len(claimed) == limit)

    async def work(self, item: int) -> None:
        self.begun.append(item)
        self.at_once = max(self.at_once, len(self.begun) - len(self.done) - len(self.called_off))
        gate = self._gates.setdefault(item, asyncio.Event())
        try:
            if not self.quick:
                await gate.wait()
        except asyncio.CancelledError:
            self.called_off.append(item)
            raise
        self.done.append(item)

    def let_go(self, *items: int) -> None:
        for item in items:
            self._gates[item].set()

    async def until_begun(self, count: int) -> None:
        await wait_until(lambda: len(self.begun) >= count, what=f"the beginning of {count} items")
        assert len(self.begun) == count

    async def until_done(self, count: int) -> None:
        await wait_until(lambda: len(self.done) >= count, what=f"the end of {count} items")


class Gate:
    """Something that a test holds up; `reached` once somebody waits at it."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def pass_through(self) -> None:
        self.reached.set()
        await self.opened.wait()


Claim = Callable[[int], Awaitable[Claimed[int]]]
Work = Callable[[int], Awaitable[None]]


@asynccontextmanager
async def running(
    backlog: Backlog,
    slots: int,
    *,
    claim: Claim | None = None,
    work: Work | None = None,
    clock: FakeClock | None = None,
) -> AsyncIterator[ClaimLoop[int]]:
    loop: ClaimLoop[int] = ClaimLoop(
        "test", claim=claim or backlog.claim, work=work or backlog.work, slots=slots, clock=clock or FakeClock()
    )
    loop.start()
    try:
        yield loop
    finally:
        await loop.stop(0)


def held_up(backlog: Backlog, gate: Gate, *, at: int) -> Claim:
    """Claims from `backlog`, and the claim of that number is held up once it was made."""

    async def claim(limit: int) -> Claimed[int]:
        claimed = await backlog.claim(limit)
        if len(backlog.asked) == at:
            await gate.pass_through()
        return claimed

    return claim


async def settled(loop: ClaimLoop[int]) -> None:
    """Return once the loop has looked again: whatever it was told before, it has acted on."""
    looks = loop.last_pass
    loop._clock.advance(1)  # type: ignore[attr-defined]  # the FakeClock that it was given
    loop.wake()
    await wait_until(lambda: loop.last_pass != looks, what="another look")


class TestClaiming:
    async def test_no_more_is_claimed_than_there_are_slots_for(self) -> None:
        backlog = Backlog(10)
        async with running(backlog, slots=3) as loop:
            loop.wake()
            await backlog.until_begun(3)
            await settled(loop)
            assert (backlog.asked, backlog.begun) == ([3], [0, 1, 2])
            backlog.let_go(1)
            await backlog.until_begun(4)
            assert (backlog.asked, backlog.begun) == ([3, 1], [0, 1, 2, 3])

    async def test_slots_are_filled_again_once_a_quarter_is_free(self) -> None:
        backlog = Backlog(100)
        async with running(backlog, slots=8) as loop:
            loop.wake()
            await backlog.until_begun(8)
            backlog.let_go(0)
            await backlog.until_done(1)
            await settled(loop)
            assert backlog.asked == [8]
            backlog.let_go(1)
            await backlog.until_begun(10)
            assert backlog.asked == [8, 2]

    async def test_a_claim_that_is_not_filled_is_the_last_of_its_pass(self) -> None:
        backlog = Backlog(3)
        async with running(backlog, slots=8) as loop:
            loop.wake()
            await backlog.until_begun(3)
            await settled(loop)
            assert backlog.asked == [8, 5]

    @pytest.mark.parametrize("slots", [1, 2, 3, 4, 7, 64])
    async def test_a_backlog_is_worked_off_without_another_wake(self, slots: int) -> None:
        backlog = Backlog(300, quick=True)
        async with running(backlog, slots=slots) as loop:
            loop.wake()
            await backlog.until_done(300)
        assert sorted(backlog.done) == list(range(300))
        assert backlog.at_once <= slots
        assert max(backlog.asked) <= slots

    async def test_many_wakes_are_one_look(self) -> None:
        backlog = Backlog(1)
        async with running(backlog, slots=4) as loop:
            for _ in range(100):
                loop.wake()
            await backlog.until_begun(1)
            assert backlog.asked == [4]

    async def test_a_wake_during_a_claim_is_not_lost(self) -> None:
        backlog, gate = Backlog(), Gate()
        async with running(backlog, slots=4, claim=held_up(backlog, gate, at=1)) as loop:
            loop.wake()
            await gate.reached.wait()
            backlog.due = [7]
            loop.wake()
            gate.opened.set()
            await backlog.until_begun(1)
            assert backlog.begun == [7]

    async def test_slots_that_are_freed_during_a_claim_are_not_lost(self) -> None:
        backlog, gate = Backlog(100), Gate()
        async with running(backlog, slots=4, claim=held_up(backlog, gate, at=2)) as loop:
            loop.wake()
            await backlog.until_begun(4)
            backlog.let_go(0)
            await gate.reached.wait()
            backlog.let_go(1, 2)
            await backlog.until_done(3)
            gate.opened.set()
            await backlog.until_begun(7)
            assert backlog.asked == [4, 1, 2]


class TestFailures:
    async def test_a_claim_that_fails_does_not_end_the_loop(self) -> None:
        backlog = Backlog(2, quick=True)
        failures = iter([OSError("the database is gone"), RuntimeError("and again")])

        async def claim(limit: int) -> Claimed[int]:
            for failure in failures:
                raise failure
            return await backlog.claim(limit)

        async with running(backlog, slots=4, claim=claim) as loop:
            for _ in range(3):
                await settled(loop)
            await backlog.until_done(2)

    async def test_a_claim_that_fails_leaves_the_work_in_flight_alone(self) -> None:
        backlog = Backlog(1)

        async def claim(limit: int) -> Claimed[int]:
            if backlog.asked:
                raise OSError("the database is gone")
            return await backlog.claim(limit)

        async with running(backlog, slots=4, claim=claim) as loop:
            loop.wake()
            await backlog.until_begun(1)
            await settled(loop)
            backlog.let_go(0)
            await backlog.until_done(1)

    async def test_after_a_claim_that_fails_it_looks_again_when_its_work_is_done(self) -> None:
        backlog = Backlog(1)
        failures = iter([None, OSError("the database is gone")])

        async def claim(limit: int) -> Claimed[int]:
            if failure := next(failures, None):
                raise failure
            return await backlog.claim(limit)

        async with running(backlog, slots=8, claim=claim) as loop:
            loop.wake()
            await backlog.until_begun(1)
            await wait_until(lambda: backlog.asked == [8], what="the first claim")
            backlog.due = [1, 2, 3]
            await settled(loop)
            backlog.let_go(0)
            await backlog.until_begun(4)

    async def test_work_that_fails_frees_its_slot(self) -> None:
        backlog = Backlog(20, quick=True)

        async def work(item: int) -> None:
            await backlog.work(item)
            if item % 2:
                raise ValueError(item)

        async with running(backlog, slots=2, work=work) as loop:
            loop.wake()
            await backlog.until_done(20)
        assert backlog.done == list(range(20))


class TestStopping:
    async def test_work_in_flight_is_finished(self) -> None:
        backlog = Backlog(2)
        async with running(backlog, slots=4) as loop:
            loop.wake()
            await backlog.until_begun(2)
            stopping = asyncio.ensure_future(loop.stop(60))
            backlog.let_go(0)
            await backlog.until_done(1)
            assert not stopping.done()
            backlog.let_go(1)
            await stopping
        assert (backlog.done, backlog.called_off) == ([0, 1], [])

    async def test_what_is_late_is_called_off(self) -> None:
        backlog = Backlog(3)
        async with running(backlog, slots=4) as loop:
            loop.wake()
            await backlog.until_begun(3)
            backlog.let_go(1)
            await loop.stop(0.05)
        assert (backlog.done, sorted(backlog.called_off)) == ([1], [0, 2])

    async def test_nothing_more_is_claimed(self) -> None:
        backlog = Backlog(100)
        async with running(backlog, slots=4) as loop:
            loop.wake()
            await backlog.until_begun(4)
            stopping = asyncio.ensure_future(loop.stop(60))
            loop.wake()
            backlog.let_go(0, 1, 2, 3)
            await stopping
            loop.wake()
        assert (backlog.asked, backlog.done) == ([4], [0, 1, 2, 3])

    async def test_what_is_being_claimed_is_still_worked_on(self) -> None:
        backlog, gate = Backlog(100, quick=True), Gate()
        async with running(backlog, slots=4, claim=held_up(backlog, gate, at=1)) as loop:
            loop.wake()
            await gate.reached.wait()
            stopping = asyncio.ensure_future(loop.stop(60))
            gate.opened.set()
            await stopping
        assert (backlog.asked, backlog.done) == ([4], [0, 1, 2, 3])

    async def test_slots_that_are_freed_meanwhile_stay_free(self) -> None:
        backlog, gate = Backlog(100), Gate()
        async with running(backlog, slots=4, claim=held_up(backlog, gate, at=2)) as loop:
            loop.wake()
            await backlog.until_begun(4)
            backlog.let_go(0)
            await gate.reached.wait()
            stopping = asyncio.ensure_future(loop.stop(60))
            backlog.let_go(1, 2, 3)
            await backlog.until_done(4)
            gate.opened.set()
            await backlog.until_begun(5)
            backlog.let_go(4)
            await stopping
        assert (backlog.asked, backlog.done) == ([4, 1], [0, 1, 2, 3, 4])

    async def test_it_may_be_stopped_twice_and_before_it_began(self) -> None:
        backlog = Backlog(1)
        loop: ClaimLoop[int] = ClaimLoop("test", claim=backlog.claim, work=backlog.work, slots=1, clock=FakeClock())
        await loop.stop(1)
        loop.start()
        loop.wake()
        await loop.stop(1)
        await loop.stop(1)
        assert backlog.asked == []


class TestDeath:
    async def die(self, loop: ClaimLoop[int]) -> None:
        """As no error of a claim or of work can bring about."""
        assert loop._runner is not None
        loop._runner.cancel()
        await asyncio.wait([loop._runner])

    async def test_a_loop_that_died_is_started_again_by_the_next_wake(self) -> None:
        backlog = Backlog(2)
        async with running(backlog, slots=4) as loop:
            for number in range(3):
                await self.die(loop)
                assert loop.restarts == number
                loop.wake()
                assert loop.restarts == number + 1
            await backlog.until_begun(2)
            loop.wake()
            assert loop.restarts == 3
            backlog.let_go(0, 1)
            await backlog.until_done(2)

    async def test_its_work_in_flight_goes_on(self) -> None:
        backlog = Backlog(4)
        async with running(backlog, slots=8) as loop:
            loop.wake()
            await backlog.until_begun(4)
            await self.die(loop)
            backlog.let_go(0)
            await backlog.until_done(1)
            backlog.due = [4]
            loop.wake()
            await backlog.until_begun(5)
            backlog.let_go(1, 2, 3, 4)
            await backlog.until_done(5)
        assert backlog.called_off == []

    async def test_one_that_was_stopped_stays_so(self) -> None:
        backlog = Backlog(1)
        async with running(backlog, slots=1) as loop:
            await loop.stop(1)
            loop.wake()
        assert (loop.restarts, backlog.asked) == (0, [])


class TestStorageUnavailable:
    async def test_claims_say_so_once_in_one_line_and_look_again_at_the_next_tick(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        backlog, fails = Backlog(1, quick=True), [True, True]

        async def claim(limit: int) -> Claimed[int]:
            if fails:
                fails.pop()
                raise StorageUnavailable("the disk is full")
            return await backlog.claim(limit)

        async with running(backlog, slots=4, claim=claim) as loop:
            for left in (1, 0):
                loop.wake()
                await wait_until(lambda left=left: len(fails) == left, what="a claim that fails")  # type: ignore[misc]
            loop.wake()
            await backlog.until_done(1)
        said = capsys.readouterr().out
        assert said.count("claim_failed") == 1
        assert "Traceback" not in said

    async def test_it_says_since_when_nothing_was_claimed(self) -> None:
        backlog, clock = Backlog(), FakeClock()
        broken = False

        async def claim(limit: int) -> Claimed[int]:
            backlog.asked.append(limit)
            if broken:
                raise StorageUnavailable("the disk is full")
            return Claimed([], more=False)

        async with running(backlog, slots=4, claim=claim, clock=clock) as loop:
            assert loop.unclaimed_for == 0
            clock.advance(5)
            assert loop.unclaimed_for == 5
            loop.wake()
            await wait_until(lambda: loop.unclaimed_for == 0, what="a claim")
            broken = True
            clock.advance(7)
            loop.wake()
            await wait_until(lambda: len(backlog.asked) == 2, what="a claim that fails")
            assert (loop.idle_for, loop.unclaimed_for) == (0, 7)

    async def test_a_loop_that_has_no_slot_free_needs_no_claim(self) -> None:
        backlog, clock = Backlog(4), FakeClock()
        async with running(backlog, slots=4, clock=clock) as loop:
            loop.wake()
            await backlog.until_begun(4)
            clock.advance(600)
            loop.wake()
            await wait_until(lambda: loop.unclaimed_for == 0, what="another look")
            assert backlog.asked == [4]


class TestMore:
    async def test_a_claim_that_is_not_full_may_still_not_be_all(self) -> None:
        """As when some rows may not be worked on yet: each that ends may let others follow."""
        backlog = Backlog(3)

        async def claim(limit: int) -> Claimed[int]:
            claimed = await backlog.claim(1)
            return Claimed(claimed.items, more=bool(backlog.due))

        async with running(backlog, slots=100, claim=claim) as loop:
            loop.wake()
            await backlog.until_begun(3)
            backlog.let_go(0, 1, 2)
            await backlog.until_done(3)

    async def test_it_looks_again_each_time_that_work_ends(self) -> None:
        backlog = Backlog(3)

        async def claim(_limit: int) -> Claimed[int]:
            free = loop.in_flight == 0
            return (await backlog.claim(1)) if free else Claimed([], more=True)

        async with running(backlog, slots=100, claim=claim) as loop:
            loop.wake()
            for item in range(3):
                await backlog.until_begun(item + 1)
                backlog.let_go(item)
            await backlog.until_done(3)


async def test_it_says_how_long_ago_it_looked() -> None:
    backlog, clock = Backlog(), FakeClock()
    async with running(backlog, slots=4, clock=clock) as loop:
        assert loop.idle_for is None
        loop.wake()
        await wait_until(lambda: backlog.asked, what="the first look")
        clock.advance(61)
        assert loop.idle_for == 61
        loop.wake()
        await wait_until(lambda: len(backlog.asked) == 2, what="the second look")
        assert loop.idle_for == 0
