"""Lets in PhotoGPT keys never seen before: PhotoGPT is asked about each, a few times a second over all of them.

What it said is kept for a while, so that a key that is sent again costs it nothing; of the key itself only its
tenant's id, which is a keyed hash. Whose key is known already, and how it is asked about: `tenancy` and its callers.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from service.clock import Clock
from service.domain.errors import RateLimited, UpstreamRefused, UpstreamUnreachable
from service.domain.token_bucket import TokenBucket
from service.telemetry.logging import get_logger

T = TypeVar("T")
_log = get_logger("admission")

# DESIGN 5. The burst is one second's worth, so that an application that starts with a few keys does not wait.
_CHECKS_PER_SECOND = 5.0
_BURST = 5
# PhotoGPT may hang, and then neither these connections nor these callers may become many.
_MOST_AT_ONCE = 20
_MOST_WAITING = 100
_REFUSED_FOR = 60.0
_ACCEPTED_FOR = 300.0
_MOST_KEPT = 10_000
# Refusals that are about the key; any other says nothing of it, or not enough to store something for it.
_KEY_REFUSED = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class _Said:
    """What PhotoGPT said of a key: its refusal (status and words), or None for a good one."""

    refusal: tuple[int, str] | None
    until: float


class Admission:
    """`tenant_id` stands for the key everywhere."""

    def __init__(self, clock: Clock, *, most_kept: int = _MOST_KEPT) -> None:
        self._clock = clock
        self._most_kept = most_kept
        self._bucket = TokenBucket(_CHECKS_PER_SECOND, _BURST)
        self._said: OrderedDict[str, _Said] = OrderedDict()
        self._under_way: dict[str, asyncio.Future[UpstreamUnreachable | None]] = {}
        self._waiting = 0

    def admits(self, tenant_id: str) -> bool | None:
        """Whether the key is known or was accepted lately; None if nothing was heard of it lately."""
        said = self._recall(tenant_id)
        return None if said is None else said.refusal is None

    def know(self, tenant_id: str) -> None:
        """Something is stored for this key: it is never asked about again."""
        self._keep(tenant_id, None, math.inf)

    async def check(self, tenant_id: str, ask: Callable[[], Awaitable[T]]) -> T | None:
        """What `ask` got of PhotoGPT; None if it had accepted the key before, or accepted it for a request meanwhile.

        Raises UpstreamRefused, also one of the last minute, UpstreamUnreachable, and RateLimited when too many unknown
        keys come.
        """
        while (said := self._recall(tenant_id)) is None:
            asked = self._under_way.get(tenant_id)
            if asked is None:
                return await self._ask(tenant_id, ask)
            unreachable = await self._wait_for(asked)
            if unreachable is not None:
                raise UpstreamUnreachable(unreachable.detail)
        if said.refusal is not None:
            status, message = said.refusal
            raise UpstreamRefused(status, message)
        return None

    async def _ask(self, tenant_id: str, ask: Callable[[], Awaitable[T]]) -> T:
        if len(self._under_way) >= _MOST_AT_ONCE or not self._bucket.take(1, self._clock.monotonic()):
            raise self._too_many()
        told: asyncio.Future[UpstreamUnreachable | None] = asyncio.get_running_loop().create_future()
        self._under_way[tenant_id] = told
        unreachable = None
        try:
            answer = await ask()
        except UpstreamRefused as refused:
            if refused.status in _KEY_REFUSED:
                self._keep(tenant_id, (refused.status, refused.message), _REFUSED_FOR)
                _log.info("unknown_key_refused", tenant_id=tenant_id, status=refused.status)
            raise
        except UpstreamUnreachable as failure:
            unreachable = failure
            raise
        else:
            self._keep(tenant_id, None, _ACCEPTED_FOR)
            return answer
        finally:
            del self._under_way[tenant_id]
            told.set_result(unreachable)

    async def _wait_for(self, asked: asyncio.Future[UpstreamUnreachable | None]) -> UpstreamUnreachable | None:
        if self._waiting >= _MOST_WAITING:
            raise self._too_many()
        self._waiting += 1
        try:
            await asyncio.wait([asked])  # which leaves it alone when this request is given up
        finally:
            self._waiting -= 1
        return asked.result()

    def _too_many(self) -> RateLimited:
        seconds = math.ceil(self._bucket.seconds_until(1, self._clock.monotonic()))
        return RateLimited(
            "Too many PhotoGPT keys that are new here are being checked just now. Try again shortly.",
            code="too_many_unknown_keys",
            retry_after=max(1, seconds),
        )

    def _recall(self, tenant_id: str) -> _Said | None:
        said = self._said.get(tenant_id)
        if said is None:
            return None
        if said.until <= self._clock.monotonic():
            del self._said[tenant_id]
            return None
        self._said.move_to_end(tenant_id)
        return said

    def _keep(self, tenant_id: str, refusal: tuple[int, str] | None, seconds: float) -> None:
        self._said[tenant_id] = _Said(refusal, self._clock.monotonic() + seconds)
        self._said.move_to_end(tenant_id)
        if len(self._said) > self._most_kept:
            self._said.popitem(last=False)
