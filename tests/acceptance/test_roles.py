"""Roles: on PostgreSQL some processes answer requests, two of them on one port, and another polls and delivers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from service.cli.processes import Child
from tests.acceptance.stack import Stack
from tests.support.waiting import wait_until_sync


@pytest.fixture
def stack(postgres_stack: Stack) -> Stack:
    return postgres_stack


@contextmanager
def free_port() -> Iterator[int]:
    """A port that stays ours until processes that share ports have taken it."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def started(stack: Stack, **settings: str | None) -> Child:
    stack.spawn_gateway(**settings)
    stack.gateway.log_entry("listening")
    return stack.gateway


def is_ready(child: Child) -> bool:
    port = child.log_entry("listening")["health_port"]
    return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200


def readings(stack: Stack) -> int:
    """How often models were read."""
    asked = stack.upstream.get("/_control/calls?path=/models/[^/]*&method=GET&limit=0")
    return int(asked.raise_for_status().json()["count"])


async def test_two_that_answer_on_one_port_and_one_that_works(stack: Stack) -> None:
    with free_port() as port:
        apis = [started(stack, GATEWAY_ROLE="api", GATEWAY_REUSE_PORT="true", GATEWAY_PORT=str(port)) for _ in range(2)]
    stack.api = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
    stack.share_secret()
    training = stack.train(stack.models(1)[0])
    wait_until_sync(lambda: all(is_ready(api) for api in apis), what="readiness of those that answer")

    before = readings(stack)
    due = datetime.fromisoformat(training["next_poll_at"])
    wait_until_sync(lambda: datetime.now(UTC) > due + timedelta(seconds=2), what="the time of two polls")
    assert readings(stack) == before

    worker = started(stack, GATEWAY_ROLE="worker", GATEWAY_REUSE_PORT=None)
    assert worker.log_entry("listening")["api"] is None
    stack.wait_for_events(1)
    [webhook] = stack.received()
    assert (webhook["event"]["type"], webhook["event"]["data"]["id"]) == ("training.ready", training["id"])
    assert stack.api.get(f"/v1/trainings/{training['id']}").json()["status"] == "ready"
    assert is_ready(worker)


async def test_a_long_poll_at_one_hears_of_what_the_worker_saw(stack: Stack) -> None:
    stack.start_gateway(GATEWAY_ROLE="api")
    stack.share_secret()
    api = stack.api
    started(stack, GATEWAY_ROLE="worker")
    training = stack.train(stack.models(1)[0])
    answer = api.get(f"/v1/trainings/{training['id']}", headers={"prefer": "wait=20"}, timeout=40)
    assert answer.json()["status"] == "ready"
