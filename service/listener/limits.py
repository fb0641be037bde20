"""How much a connection may cost, and how it is told that it costs more."""

from __future__ import annotations

import resource
from dataclasses import dataclass


def _most_connections() -> int:
    """Half of the files this process may open: the rest is for PhotoGPT, receivers and the database.

    4096 at the most, which at some 16 kB each is what we are ready to spend on them.
    """
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 4096 if open_files == resource.RLIM_INFINITY else min(4096, open_files // 2)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A problem that the application never hears of."""

    status: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    target: int = 8 * 1024
    header: int = 16 * 1024
    headers: int = 32 * 1024
    header_count: int = 100
    pipelined: int = 16
    connections: int = _most_connections()
    # From the connect, or from the first byte of a head, to its end.
    head_seconds: float = 10.0
    # For who does not take what we answer.
    unread_seconds: float = 60.0
    # What is still read, and for how long, of one who was answered already: TCP would take the answer back from one
    # who is still sending when the connection is closed.
    spare: int = 256 * 1024
    spare_seconds: float = 2.0

    def target_too_long(self) -> Refusal:
        return Refusal(414, "target_too_long", f"A request's target has at most {self.target} bytes.")

    def headers_too_large(self) -> Refusal:
        detail = (
            f"A request has at most {self.header_count} headers, {self.header} bytes in one and {self.headers} in all."
        )
        return Refusal(431, "headers_too_large", detail)

    def head_too_late(self) -> Refusal:
        detail = f"The head of the request did not arrive within {self.head_seconds:g} seconds."
        return Refusal(408, "request_timeout", detail)

    def crowded(self) -> Refusal:
        return Refusal(503, "too_many_connections", f"{self.connections} connections are open, which is the most.")


MALFORMED = Refusal(400, "malformed_request", "That is not HTTP/1.1 as RFC 9112 has it.")
UNKNOWN_METHOD = Refusal(400, "malformed_request", "The request does not begin with a method of HTTP.")
VERSION = Refusal(400, "malformed_request", "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
TARGET = Refusal(400, "malformed_request", "The target is neither a path nor a URL at the host of the Host header.")
HOST = Refusal(400, "malformed_request", "A request has one Host header: a name or address, and maybe a port.")
CODING = Refusal(400, "malformed_request", "The only Transfer-Encoding is chunked, and only in HTTP/1.1.")
