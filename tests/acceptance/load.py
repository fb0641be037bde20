"""Callers as they should be: each repeats its train request, with one Idempotency-Key, until it is acknowledged."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from types import TracebackType
from typing import Any, Self

import httpx

from tests.acceptance.stack import Stack

# What the receiver is told to verify with; given with each train request, so that no request to the gateway is needed.
SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSBhY2NlcHRhbmNlIHRlc3Rz"
_MODELS_AT_ONCE = 500
_CALLERS = 24
_PATIENCE = 60.0
_PAUSE = 0.1


def train_request(stack: Stack, model: str, name: str = "") -> dict[str, Any]:
    """The body of a train request whose webhooks the receiver can verify, at the callback of that name."""
    return {"model_id": model, "callback": {"url": stack.hook + name, "secret": SECRET}}


def share_secret(stack: Stack) -> None:
    stack.sink.put("/_control/secrets", json={"default": SECRET}).raise_for_status()


def say(line: str) -> None:
    """A figure for whoever reads along: `pytest -s`, or -rP afterwards."""
    sys.stdout.write(f"\n{line}\n")


class Load:
    """Trains models of its own, `rate` a second, from entry to exit; then waits for the last acknowledgement.

    `acknowledged`: the training id that was answered, by model. `answers` counts everything else that was. `address`:
    which gateway the next request goes to; None: there is none now. `order`: what the models are like.
    """

    def __init__(
        self,
        stack: Stack,
        *,
        rate: float,
        prefix: str = "load",
        address: Callable[[], str | None] | None = None,
        **order: Any,
    ) -> None:
        self.acknowledged: dict[str, str] = {}
        self.answers: Counter[str] = Counter()
        self._stack = stack
        self._pause = 1 / rate
        self._prefix = prefix
        self._address = address or (lambda: stack.address)
        self._order = order
        self._stopping = threading.Event()
        self._callers = ThreadPoolExecutor(_CALLERS, "caller")
        self._free = threading.BoundedSemaphore(_CALLERS)
        self._requests: list[Future[None]] = []
        self._pacer = threading.Thread(target=self._pace, name="pacer")
        self._client = httpx.Client(timeout=30, limits=httpx.Limits(max_connections=_CALLERS))

    def __enter__(self) -> Self:
        self._pacer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopping.set()
        self._pacer.join()
        self._callers.shutdown()
        self._client.close()
        for request in self._requests:
            request.result()

    def _pace(self) -> None:
        models = self._models()
        # While the gateway is down all callers wait; nobody queues up behind them.
        while not self._stopping.wait(self._pause):
            if self._free.acquire(timeout=1):
                request = self._callers.submit(self._train, next(models))
                request.add_done_callback(lambda _request: self._free.release())
                self._requests.append(request)

    def _models(self) -> Iterator[str]:
        for batch in count():
            yield from self._stack.models(_MODELS_AT_ONCE, f"{self._prefix}{batch}", **self._order)

    def _train(self, model: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            training_id = self._ask(model)
            if training_id is not None:
                self.acknowledged[model] = training_id
                return
            time.sleep(_PAUSE)
        raise AssertionError(f"{model} was not acknowledged within {_PATIENCE:g} s: {self.answers}")

    def _ask(self, model: str) -> str | None:
        address = self._address()
        if address is None:
            return None
        request = train_request(self._stack, model)
        try:
            answer = self._client.post(
                f"{address}/v1/trainings", json=request, headers={"Idempotency-Key": f"key-{model}"}
            )
        except httpx.TransportError as error:
            self.answers[type(error).__name__] += 1
            return None
        if answer.status_code in (200, 202):
            return str(answer.json()["id"])
        assert answer.status_code in (409, 503), answer.text
        self.answers[f"{answer.status_code} {answer.json()['code']}"] += 1
        return None
