"""PhotoGPT's own API, passed on: one request of a caller out, the answer as it comes back.

Only the configured base URL is ever called; redirects are the caller's to follow. What passes is `passing`'s to say,
how it is answered `api.proxy`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import dataclass

from service.domain.calls import CallKind, OnCall, uncounted
from service.domain.secret import Secret
from service.outbound.streams import Stream, Streams
from service.photogpt.passing import RawHeaders, methods, query_passes, request_headers, segments


@dataclass(frozen=True, slots=True)
class ProxyLimits:
    """`most_bytes`: of one body, either way. `most_seconds`: for one exchange as a whole."""

    most_bytes: int
    most_seconds: float
    every_route: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A path behind the base URL that may be called, as sent, and by which methods."""

    raw: bytes
    path: tuple[str, ...]
    methods: frozenset[str]


class Proxy:
    """`reads` may keep connections; `writes` must not, so that nothing that costs money goes over a stale one."""

    def __init__(
        self, base_url: str, *, reads: Streams, writes: Streams, limits: ProxyLimits, on_call: OnCall = uncounted
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._reads = reads
        self._writes = writes
        self.limits = limits
        self._on_call = on_call

    def target(self, raw_path: bytes, query: bytes) -> Target | None:
        """What is called for this path behind `/api/`; None: there is no such route."""
        path = segments(raw_path)
        if path is None or not query_passes(query):
            return None
        allowed = methods(path, every_route=self.limits.every_route)
        if not allowed:
            return None
        return Target(raw_path + (b"?" + query if query else b""), path, allowed)

    async def begin(
        self, key: Secret, method: str, target: Target, headers: RawHeaders, body: AsyncIterable[bytes] | None
    ) -> Stream:
        """Ask PhotoGPT. The answer has to be closed. Raises outbound.streams.StreamBroken."""
        url = f"{self._base_url}/{target.raw.decode('ascii')}"
        # create-download is a GET with an effect (photogpt-facts 13.5).
        harmless = method in {"GET", "HEAD"} and target.path[-1] != "create-download"
        streams = self._reads if harmless else self._writes
        self._on_call(CallKind.PASSED_ON)
        return await streams.begin(method, url, request_headers(headers, key), body)

    async def close(self) -> None:
        await self._reads.close()
        await self._writes.close()
