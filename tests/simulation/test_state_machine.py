"""The gateway against a model of it in some fifty lines: whatever Hypothesis does to both, they agree.

Unlike the seeds of the simulation, which only break rules of the kind "never", this knows what must come of each step.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from service.domain.errors import UpstreamRefused
from service.trainings.request import CallbackRequest, Outcome, OutcomeKind, TrainRequest
from tests.simulation.faults import OrderedFaults
from tests.simulation.judge import POLL_INTERVAL
from tests.simulation.logs import watched_logs
from tests.simulation.virtual_time import VirtualTimeLoop
from tests.simulation.world import World

T = TypeVar("T")
KEY = "key-one"
MODELS = st.sampled_from(["red", "blue"])
MONTH = 30 * 86400.0


# --- the model: what a caller may expect ------------------------------------------------------------------------------


@dataclass
class Expected:
    """One model at PhotoGPT and our trainings of it: `ours` is the status of the last one, `told` what was called back.

    `word` is what PhotoGPT says; a trigger that was not answered well `took` or did not.
    """

    word: str = "new"
    ours: str | None = None
    took: bool = True
    suspended: bool = False
    triggers: int = 0
    told: list[str] = field(default_factory=list)

    @property
    def active(self) -> bool:
        return self.ours in ("submitting", "training")

    def train(self, *, took: bool, answered: bool) -> str:
        if self.active:
            self.suspended = False
            return "joined"
        self.triggers += 1
        self.ours, self.took = ("training" if answered else "submitting"), took
        self.word = "training" if took else self.word
        return "accepted"

    def time_passes(self, *, key_works: bool) -> None:
        """Five intervals: enough to be confirmed or given up, and to be refused three times."""
        if not self.active or self.suspended:
            return
        if not key_works:
            self.suspended = True
        elif self.ours == "submitting" and not self.took:
            self._ends("failed")
        elif self.word in ("ready", "deleted", "failed"):
            self._ends(self.word)
        else:
            self.ours = "training"

    def cancel(self) -> None:
        self.ours, self.suspended = "cancelled", False

    def _ends(self, status: str) -> None:
        self.ours = status
        self.told.append(f"training.{status}")


# --- the machine ------------------------------------------------------------------------------------------------------


class Gateway(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.expected = {"red": Expected(), "blue": Expected()}
        self.ids: dict[str, str] = {}
        self.key_works = True
        self._exits = ExitStack()

    @initialize()
    def begin(self) -> None:
        loop = VirtualTimeLoop()
        self._runner = self._exits.enter_context(asyncio.Runner(loop_factory=lambda: loop))
        self.faults = OrderedFaults()
        self._run(self._make(loop))

    @rule(model=MODELS, fate=st.sampled_from(["answered", "answered", "took", "lost"]))
    def train(self, model: str, fate: str) -> None:
        expected = self.expected[model]
        if expected.word == "training" and not expected.active:
            return  # PhotoGPT still trains what was cancelled here, and would refuse
        if not self.key_works:
            if not expected.active or expected.suspended:
                self._refused(model)
            return
        self.faults.now |= {"took": {"trigger 500 after it acted"}, "lost": {"trigger 500"}}.get(fate, set())
        outcome = self._run(self._ask(model))
        self.faults.now.clear()
        said = expected.train(took=fate != "lost", answered=fate == "answered")
        assert (outcome.kind, outcome.training is not None) == (OutcomeKind(said), True)
        assert outcome.training is not None
        if said == "joined":
            assert outcome.training["id"] == self.ids[model]
            for other in self.expected.values():
                other.suspended = False
        self.ids[model] = outcome.training["id"]
        if expected.triggers and said == "accepted":
            self._resume_all()

    @rule(model=MODELS, word=st.sampled_from(["ready", "deleted", "failed", "Warming-Up"]))
    def photogpt_says(self, model: str, word: str) -> None:
        if self.expected[model].word != "training":
            return
        self.expected[model].word = word
        upstream = self.world.photogpt.models[KEY, model]
        upstream.end, upstream.ends_at = word, self._loop_time()

    @rule(receiver_works=st.booleans())
    def time_passes(self, receiver_works: bool) -> None:
        if not receiver_works:
            self.faults.now.add("receiver 500")
            self._run(self._wait(20))
            self.faults.now.clear()
        self._run(self._wait(5.6 * POLL_INTERVAL))
        for expected in self.expected.values():
            expected.time_passes(key_works=self.key_works)

    @rule()
    def crash(self) -> None:
        self._run(self._crash())
        self._run(self.world.start())

    @rule()
    def restart_in_order(self) -> None:
        self._run(self.world.stop_in_order())
        self._run(self.world.start())

    @rule(works=st.booleans())
    def key(self, works: bool) -> None:
        self.key_works = works
        self.world.photogpt.bad_keys = set() if works else {KEY}

    @rule(model=MODELS)
    def cancel(self, model: str) -> None:
        if self.expected[model].active:
            self._run(self.world.cancel(KEY, self.ids[model]))
            self.expected[model].cancel()

    @invariant()
    def agrees(self) -> None:
        for name, expected in self.expected.items():
            found = self.world.judge.rows(
                "SELECT status, suspended FROM trainings WHERE model_id = ? ORDER BY id DESC LIMIT 1", name
            )
            assert found == ([(expected.ours, int(expected.suspended))] if expected.ours else [])
            upstream = self.world.photogpt.models[KEY, name]
            assert len(upstream.asked) == expected.triggers
            events = self.world.judge.rows(
                "SELECT e.type FROM events e JOIN trainings t ON t.id = e.training_id"
                " WHERE t.model_id = ? AND e.terminal AND e.type != 'training.cancelled' ORDER BY e.id",
                name,
            )
            assert [event for (event,) in events] == expected.told
        assert not self.world.broken, self.world.broken[0]

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.key(works=True)
            self._run(self._wait(1000))
            undelivered = self.world.judge.rows("SELECT id, status FROM deliveries WHERE status != 'delivered'")
            assert undelivered == []
            self.world.judge._copies_are_excused()
            self._run(self._crash())
            self.world.close()
        self._exits.close()

    # ---

    async def _make(self, loop: VirtualTimeLoop) -> None:
        self.world = World(random.Random(1), loop, self.faults, GATEWAY_EXPIRE_AFTER=MONTH, GATEWAY_OVERDUE_AFTER=MONTH)
        self._exits.enter_context(watched_logs(self.world.judge, shown=False))
        for model in self.expected:
            self.world.photogpt.model(KEY, model)
        await self.world.start()

    async def _ask(self, model: str) -> Outcome:
        callback = CallbackRequest(f"https://receiver.example/{model}", "/callback_url")
        outcome = await self.world.request(KEY, TrainRequest(model, callback))
        if self.world.photogpt.models[KEY, model].status(self._loop_time()) == "training":
            self.world.photogpt.models[KEY, model].ends_at = float("inf")
        return outcome

    async def _crash(self) -> None:
        self.world.crash()

    def _refused(self, model: str) -> None:
        with pytest.raises(UpstreamRefused) as refused:
            self._run(self._ask(model))
        assert refused.value.status == 401

    def _resume_all(self) -> None:
        """A request that is accepted shows that the key works."""
        for expected in self.expected.values():
            expected.suspended = False

    async def _wait(self, seconds: float) -> None:
        until = self._loop_time() + seconds
        while self._loop_time() < until:
            self.world.tick()
            await asyncio.sleep(10)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        async def inside() -> T:
            task = asyncio.current_task()
            assert task is not None
            self.world_tasks(task)
            return await coroutine

        return self._runner.run(inside())

    def world_tasks(self, task: asyncio.Task[Any]) -> None:
        if hasattr(self, "world"):
            self.world.own.add(task)

    def _loop_time(self) -> float:
        return self._runner.get_loop().time()


Gateway.TestCase.settings = settings(
    max_examples=15, stateful_step_count=12, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestGateway = Gateway.TestCase
