"""Who waits on an open connection: answered as soon as there is something to say, and let go when the gateway ends."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx

from tests.acceptance.stack import Stack
from tests.support.waiting import wait_until_sync

# Far below the 5 s after which who waits would look by itself.
_AT_ONCE = 2.5
_WAIT = {"Prefer": "wait=60"}
_EACH = 10
# A gateway has 25 s to end; with nothing under way it needs no time but for connections that nobody reads.
_END_SECONDS = 15.0
# Trainings, of two events with 27 kB each.
_MANY = 120


def train(stack: Stack, model: str) -> dict[str, Any]:
    training: dict[str, Any] = stack.api.post("/v1/trainings", json={"model_id": model}).raise_for_status().json()
    return training


@contextmanager
def in_threads(count: int, work: Callable[[], Any]) -> Iterator[list[Future[Any]]]:
    with ThreadPoolExecutor(count) as threads:
        yield [threads.submit(work) for _ in range(count)]


def cancel(stack: Stack, training: dict[str, Any]) -> float:
    """A change of status at a moment that the test knows, right after a look in vain. When it was."""
    stack.api.delete(training["urls"]["self"]).raise_for_status()
    return time.monotonic()


def test_who_waits_for_a_training_is_answered_at_once_when_its_status_changes(stack: Stack) -> None:
    stack.start_gateway(GATEWAY_POLL_INTERVAL="300")
    training = train(stack, stack.models(1)[0])

    def wait() -> tuple[httpx.Response, float]:
        return stack.api.get(training["urls"]["self"], headers=_WAIT, timeout=90), time.monotonic()

    with in_threads(1, wait) as [waiting]:
        time.sleep(0.5)
        assert not waiting.done()
        changed_at = cancel(stack, training)
    answer, answered_at = waiting.result()
    assert (training["status"], answer.json()["status"]) == ("training", "cancelled")
    assert answer.headers["preference-applied"] == "wait=60"
    assert answered_at - changed_at < _AT_ONCE


def test_who_follows_the_stream_hears_at_once(stack: Stack) -> None:
    stack.start_gateway(GATEWAY_POLL_INTERVAL="300")
    training = train(stack, stack.models(1)[0])
    with stack.api.stream("GET", "/v1/events/stream") as stream:
        lines = stream.iter_lines()
        assert next(lines) == ": connected"
        changed_at = cancel(stack, training)
        assert next(line for line in lines if line.startswith("event: ")) == "event: training.cancelled"
        assert time.monotonic() - changed_at < _AT_ONCE


def test_sigterm_lets_everybody_go_who_waits_and_the_gateway_ends_in_time(stack: Stack) -> None:
    # Polled so seldom that nothing happens meanwhile.
    stack.start_gateway(GATEWAY_POLL_INTERVAL="300")
    training = train(stack, stack.models(1)[0])
    connected: list[str] = []

    def wait() -> httpx.Response:
        return stack.api.get(training["urls"]["self"], headers=_WAIT, timeout=90)

    def follow() -> bool:
        """Whether the stream came to a proper end: a broken one raises."""
        with httpx.stream("GET", f"{stack.address}/v1/events/stream", timeout=90) as stream:
            for line in stream.iter_lines():
                connected.extend([line] if line == ": connected" else [])
        return True

    with in_threads(_EACH, wait) as waiting, in_threads(_EACH, follow) as following:
        wait_until_sync(lambda: len(connected) == _EACH, what="all streams to be open", timeout=30)
        asked_at = time.monotonic()
        stack.gateway.process.send_signal(signal.SIGTERM)
        assert stack.end_gateway() == 0
        took = time.monotonic() - asked_at
    assert took < _END_SECONDS
    assert all(stream.result() for stream in following)
    assert [(answer.result().status_code, answer.result().json()["status"]) for answer in waiting] == [
        (200, "training")
    ] * _EACH


def test_sigterm_does_not_wait_for_one_who_does_not_read(stack: Stack) -> None:
    stack.start_gateway()
    url = httpx.URL(str(stack.address))
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((url.host, url.port))
        deaf.sendall(b"GET /v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert deaf.recv(12) == b"HTTP/1.1 200"
        # More than all buffers on the way hold.
        big = {f"name{number}": "x" * 500 for number in range(50)}
        for model in stack.models(_MANY):
            stack.api.post("/v1/trainings", json={"model_id": model, "metadata": big}).raise_for_status()
        wait_until_sync(
            lambda: stack.api.get("/v1/trainings", params={"status": "training"}).json()["data"] == [],
            what="all trainings to end",
            timeout=60,
        )
        asked_at = time.monotonic()
        stack.gateway.process.send_signal(signal.SIGTERM)
        assert stack.end_gateway() == 0
        assert time.monotonic() - asked_at < _END_SECONDS
