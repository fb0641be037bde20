"""Waiting for something to become true: bounded, and with an error that says what was waited for."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from inspect import isawaitable

INTERVAL = 0.02


async def wait_until(predicate: Callable[[], object | Awaitable[object]], *, what: str, timeout: float = 10) -> None:
    """Return as soon as `predicate` (which may be a coroutine function) gives something true."""
    for _ in _tries(what, timeout):
        answer = predicate()
        if await answer if isawaitable(answer) else answer:
            return
        await asyncio.sleep(INTERVAL)


def wait_until_sync(predicate: Callable[[], object], *, what: str, timeout: float = 10) -> None:
    """The same for code without an event loop."""
    for _ in _tries(what, timeout):
        if predicate():
            return
        time.sleep(INTERVAL)


def _tries(what: str, timeout: float) -> Iterator[None]:
    deadline = time.monotonic() + timeout
    while True:
        last = time.monotonic() >= deadline
        yield
        if last:
            raise AssertionError(f"waited {timeout:g} s in vain: {what}")
