"""One crash of a fresh gateway at a named point: the steps that the rows of the failure model (2.2) are made of."""

import random
from typing import Any

import httpx

from service.cli.terminal import CommandFailed
from tests.acceptance.history import Figures, Row, gather, judge, rows, wait_for_the_end
from tests.acceptance.load import share_secret, train_request
from tests.acceptance.stack import KEY, Stack
from tests.support.waiting import wait_until_sync

# Longer than any test: such a model is ready when the test says so.
_LONG = 1_000_000
IDEMPOTENCY_KEY = "one request"


class CrashCase:
    """`model` trains until `finish`; or is ready as soon as it is triggered, if `instant`."""

    def __init__(self, stack: Stack, name: str, rng: random.Random, *, instant: bool = False) -> None:
        stack.begin_anew(name)
        share_secret(stack)
        self.stack = stack
        self.name = name
        self.random = rng
        self.acknowledged: dict[str, str] = {}
        [self.model] = stack.models(1, name, duration_minutes=0 if instant else _LONG)
        self._headers: dict[str, str] = {}

    def start_armed(self, point: str, times: int = 1, *, callers_own_key: bool = False) -> None:
        """The gateway may be dead before it listens."""
        if callers_own_key:
            self._headers["Authorization"] = f"Bearer {KEY}"
        key = None if callers_own_key else KEY
        self.stack.spawn_gateway(GATEWAY_CRASH_AT=f"{point}:{times}", PHOTOGPT_API_KEY=key)
        try:
            self.stack.attach()
        except CommandFailed:
            assert self.stack.gateway.process.poll() is not None

    def crashed(self) -> None:
        self.stack.wait_for_crash(60)

    def restart(self) -> None:
        self.stack.start_gateway(GATEWAY_CRASH_AT=None)

    def ask(self, *, key: str | None = None, name: str = "") -> httpx.Response:
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        body = train_request(self.stack, self.model, name)
        return self.stack.api.post("/v1/trainings", json=body, headers=headers)

    def accepted(self, **options: Any) -> str:
        """The id of the training that a request was answered with."""
        answer = self.ask(**options)
        assert answer.status_code in (200, 202), answer.text
        training_id = str(answer.json()["id"])
        self.acknowledged[self.model] = training_id
        return training_id

    def broken(self, **options: Any) -> None:
        """A request that gets no answer, since the gateway dies of it."""
        try:
            answer = self.ask(**options)
        except httpx.TransportError:
            return
        raise AssertionError(f"answered: {answer.status_code} {answer.text}")

    def repeats_give(self, training_id: str) -> None:
        """A repeat returns the same training, without the Idempotency-Key at once, with it after the lease at last."""
        assert self.accepted() == training_id
        wait_until_sync(
            lambda: self.ask(key=IDEMPOTENCY_KEY).status_code != 409, what="the repeat to be answered", timeout=30
        )
        assert self.accepted(key=IDEMPOTENCY_KEY) == training_id

    def finish(self) -> None:
        order = {"key": KEY, "status": "ready"}
        self.stack.upstream.put(f"/_control/models/{self.model}", json=order).raise_for_status()

    def trigger_calls(self) -> int:
        return self.stack.call_count(f"/models/{self.model}/train")

    def received(self) -> list[Row]:
        return [hook for hook in self.stack.received() if hook["event"]["data"]["model_id"] == self.model]

    def rows(self, table: str) -> list[Row]:
        return rows(self.stack.database, f"SELECT * FROM {table}")

    def terminal_events(self) -> list[Row]:
        return [event for event in self.rows("events") if event["terminal"]]

    def training(self) -> Row:
        [training] = self.rows("trainings")
        return training

    def errors(self) -> list[str | None]:
        """The error class of each attempt, first to last."""
        return [attempt["error_class"] for attempt in sorted(self.rows("attempts"), key=lambda row: row["number"])]

    def judged(self, *, copies: int = 0) -> Figures:
        """Everything has ended as it must, with at most so many extra copies."""
        wait_for_the_end(self.stack)
        figures = judge(gather(self.stack, self.acknowledged), crashes=1)
        assert figures.copies <= copies
        return figures
